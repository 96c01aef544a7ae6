"""Problem documents (RFC 9457): the errors of both services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from cocu.schemas.base import FieldProblem, Problem

MEDIA_TYPE: Final = "application/problem+json"
MAX_TEXT_LENGTH: Final = 500
MAX_FIELDS: Final = 50

_KINDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad-request", "The request cannot be understood"),
    401: ("unauthorized", "Not authenticated"),
    403: ("forbidden", "Not allowed for pages of other sites"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "This method is not supported here"),
    406: ("not-acceptable", "Not available in an accepted format"),
    408: ("request-timeout", "The request did not arrive in time"),
    409: ("conflict", "Conflict with the current state"),
    410: ("gone", "No longer available"),
    412: ("precondition-failed", "A condition of the request does not hold"),
    413: ("limit-exceeded", "Larger than the limit"),
    415: ("unsupported-media-type", "Not a supported media type"),
    416: ("range-not-satisfiable", "The file has no such part"),
    421: ("misdirected", "Not a host name of this server"),
    422: ("invalid-input", "An input is wrong"),
    423: ("locked", "Locked by another request"),
    429: ("too-many", "Too many requests"),
    460: ("checksum-mismatch", "The checksum does not match"),
    500: ("internal-error", "The platform failed"),
    503: ("unavailable", "A part of the platform does not answer"),
}

_TITLES: Final[Mapping[str, str]] = {"damaged-data": "Stored data is damaged"}
"""Titles of codes that share their status with another code."""


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
) -> Response:
    """Return a problem document as a response. code: for a status with several codes."""
    default_code, title = _KINDS.get(status) or (
        "bad-request" if status < 500 else "internal-error",
        HTTPStatus(status).phrase,
    )
    if code is not None:
        title = _TITLES.get(code, title)
    problem = Problem(
        type=f"urn:cocu:problem:{code or default_code}",
        title=title,
        status=status,
        detail=shorten(detail),
        instance=shorten(instance) if instance else None,
        errors=list(fields)[:MAX_FIELDS],
    )
    return Response(
        problem.model_dump_json(exclude_none=True).encode("utf-8", "replace"),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def title_of(status: int) -> str:
    """Return the title of problems with this status."""
    return _KINDS[status][1]


def shorten(text: str) -> str:
    """Return the text without characters that JSON cannot encode, cut to MAX_TEXT_LENGTH."""
    safe = text.encode("utf-8", "replace").decode()
    return safe if len(safe) <= MAX_TEXT_LENGTH else safe[: MAX_TEXT_LENGTH - 1] + "…"
