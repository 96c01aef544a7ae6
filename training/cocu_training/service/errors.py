"""Why a request may be refused; `problems` turns these errors into problem documents.

RefusedError
├── UnauthorizedError    401  no API key, or an unknown one
├── MissingError         404  it does not exist, or belongs to another tenant
├── StateError           409  the state of the run does not allow it
├── InvalidError         422  an input is wrong
├── RangeError           416  the file has no such part
├── TooManyError         429  the queue is full
└── UnavailableError     503  the platform does not answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class RefusedError(Exception):
    """A request that is not carried out; the message says why and what to do."""

    status: ClassVar[int] = 400
    always: ClassVar[Mapping[str, str]] = {}
    """Headers of every answer with this status."""

    def __init__(
        self,
        detail: str,
        fields: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.fields = dict(fields or {})
        self.headers = {**self.always, **(headers or {})}


class UnauthorizedError(RefusedError):
    """No API key, or an unknown one."""

    status = 401
    always: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class MissingError(RefusedError):
    """It does not exist, or belongs to another tenant."""

    status = 404


class StateError(RefusedError):
    """The state of the run does not allow it."""

    status = 409


class InvalidError(RefusedError):
    """An input is wrong."""

    status = 422


class RangeError(RefusedError):
    """The file has no such part."""

    status = 416


class TooManyError(RefusedError):
    """The queue is full."""

    status = 429
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "60"}


class UnavailableError(RefusedError):
    """The platform does not answer."""

    status = 503
    always: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}
