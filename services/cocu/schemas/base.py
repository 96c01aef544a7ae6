"""Base classes and types of the wire models."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar
from urllib.parse import urljoin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from cocu.text.names import check_name, check_text

Item = TypeVar("Item")


def _resolved(reference: str, information: ValidationInfo) -> str:
    base: str = (information.context or {}).get("url", "")
    return urljoin(base, reference)


Link = Annotated[str, AfterValidator(_resolved)]
"""Relative to the URL of the answer on the wire (RFC 3986); an absolute URL after the client has read it."""


class ResponseModel(BaseModel):
    """Base of answers of the platform: immutable; fields that a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Request(BaseModel):
    """Base of requests: unknown fields are errors, and so are values of another type (true for 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)


_NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""The pattern in the OpenAPI document; the validators give a message in words."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": _NAME_PATTERN}),
    AfterValidator(check_name),
]
"""A name that a user gives: one line, in NFC, without marks that change the direction of writing."""

Word = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": _NAME_PATTERN}), AfterValidator(check_text)
]
"""A name that must match exactly, such as the name of a column in the caller's file."""


def is_none(value: object) -> bool:
    """Whether a field that most answers lack is left out (`exclude_if`)."""
    return value is None


class Page(ResponseModel, Generic[Item]):
    """A part of a list; `next` is the cursor of the next part, None at the end."""

    items: list[Item]
    next: str | None = None


class FieldProblem(ResponseModel):
    """The error of one input; `field` is its path, such as `body.parameters.neighbours`."""

    field: str
    problem: str


class Problem(ResponseModel):
    """An error in the form of RFC 9457; `type` is stable and for programs, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str | None = None
    errors: list[FieldProblem] = Field(default_factory=list)


class Health(ResponseModel):
    """Whether the platform works, and the state of each of its parts."""

    status: str
    version: str
    parts: dict[str, str] = Field(default_factory=dict)
