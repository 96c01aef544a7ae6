"""The headers of tus 1.0.0, the protocol of resumable uploads."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.api.idempotency import IdempotentRoute
from cocu.api.problems import BadRequestError
from cocu.catalog.resumables import ResumableRecord
from cocu.errors import CocuError, InvalidInputError

VERSION: Final = "1.0.0"
EXTENSIONS: Final = ("creation", "checksum", "expiration", "termination")
ALGORITHMS: Final = ("sha1", "sha256")
MEDIA_TYPE: Final = "application/offset+octet-stream"
MAX_METADATA_LENGTH: Final = 2_000
MAX_BYTES: Final = 2**63 - 1

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Checksum:
    """The checksum that a piece must have: the name of the algorithm, and the digest."""

    algorithm: str
    digest: bytes

    def started(self) -> Any:
        """Return a new hash object of this algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


class TusRoute(IdempotentRoute):
    """A route of tus: it refuses other versions (412), and names its version in every answer."""

    def get_route_handler(self) -> _Handler:
        """Return the handler, wrapped."""
        handle = super().get_route_handler()

        async def tus(request: Request) -> Response:
            try:
                if request.method != "OPTIONS":
                    _require_version(request)
                response = await handle(request)
            except (CocuError, HTTPException, RequestValidationError, ClientDisconnect) as error:
                response = await _problem(request, error)
            response.headers["Tus-Resumable"] = VERSION
            return response

        return tus


def capability_headers(max_size: int) -> dict[str, str]:
    """Return the headers that name versions, extensions and limits of this server."""
    return {
        "Tus-Version": VERSION,
        "Tus-Max-Size": str(max_size),
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def state_headers(record: ResumableRecord) -> dict[str, str]:
    """Return the headers with the offset and the expiry of an upload."""
    return {
        "Upload-Offset": str(record.offset),
        "Upload-Expires": format_datetime(record.expires_at, usegmt=True),
        "Cache-Control": "no-store",
    }


def parse_size(name: str, text: str | None) -> int:
    """Return a header that is a number of bytes. Raises BadRequestError."""
    if text is None:
        raise BadRequestError(f"{name} is missing; tus 1.0.0 needs it here.")
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_BYTES:
        raise BadRequestError(f"{name} must be a number of bytes, 0 or more.")
    return int(text)


def parse_metadata(text: str | None) -> Mapping[str, str]:
    """Parse Upload-Metadata: keys, each with the base64 of its value, separated by commas.

    >>> parse_metadata("filename cGhvdG9zLnRhcg==,is_confidential")
    {'filename': 'photos.tar', 'is_confidential': ''}
    """
    if text is not None and len(text) > MAX_METADATA_LENGTH:
        raise BadRequestError(f"Upload-Metadata is longer than {MAX_METADATA_LENGTH} characters.")
    values: dict[str, str] = {}
    for pair in (text or "").split(","):
        key, _, value = pair.strip().partition(" ")
        if not key:
            continue
        try:
            values[key] = base64.b64decode(value.strip().encode("ascii"), validate=True).decode()
        except (binascii.Error, UnicodeError) as error:
            raise BadRequestError(
                "Upload-Metadata must be keys, each with a space and the base64 of its UTF-8 value, "
                "separated by commas."
            ) from error
    return values


def parse_sha256(values: Mapping[str, str]) -> str | None:
    """Return the SHA-256 (hex) that the whole file must have, None where the metadata has none."""
    digest = values.get("sha256")
    if digest is None:
        return None
    if len(digest) != 64 or not set(digest.lower()) <= set("0123456789abcdef"):
        raise InvalidInputError(
            "The upload cannot begin.", {"Upload-Metadata.sha256": "must be 64 hexadecimal digits"}
        )
    return digest.lower()


def parse_checksum(text: str | None) -> Checksum | None:
    """Parse Upload-Checksum. Raises BadRequestError, also for an unknown algorithm."""
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadRequestError(f"Upload-Checksum must name one of {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise BadRequestError("Upload-Checksum must end with the base64 of the digest.") from error
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise BadRequestError(f"Upload-Checksum holds no {algorithm} digest: its length is wrong.")
    return Checksum(algorithm, digest)


def _require_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise HTTPException(
            412,
            f"Send Tus-Resumable: {VERSION}, the only supported version.",
            headers={"Tus-Version": VERSION},
        )


async def _problem(request: Request, error: Exception) -> Response:
    """Return the application's answer to an error; made here, so that headers can be added to it."""
    handlers = request.app.exception_handlers
    handler = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    response: Response = await handler(request, error)
    return response
