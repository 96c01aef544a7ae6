"""Every error as an RFC 9457 problem: the one place where errors of the platform become HTTP.

    InvalidInputError (and InvalidBundleError)   422  invalid-input
    NotFoundError                                404  not-found
    ConflictError                                409  conflict
    LimitExceededError                           413  limit-exceeded
    UnavailableError                             503  unavailable, with Retry-After
    IntegrityError and everything unforeseen     500  internal-error, without internals

`type` is `urn:cocu:problem:<code>`: stable, for programs. Problems never repeat what was sent in full, and
carry no text of a database, file system or trace.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from cocu import errors
from cocu.client.models import FieldProblem, Problem

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
LONGEST_TEXT: Final = 500
MOST_FIELDS: Final = 50

log = logging.getLogger(__name__)

_OF_ERRORS: Final[Sequence[tuple[type[errors.CocuError], int, str]]] = (
    (errors.InvalidInputError, 422, "invalid-input"),
    (errors.NotFoundError, 404, "not-found"),
    (errors.ConflictError, 409, "conflict"),
    (errors.LimitExceededError, 413, "limit-exceeded"),
    (errors.UnavailableError, 503, "unavailable"),
)

_OF_STATUSES: Final = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    409: "conflict",
    410: "gone",
    412: "precondition-failed",
    413: "limit-exceeded",
    415: "unsupported-media-type",
    422: "invalid-input",
    423: "locked",
    460: "checksum-mismatch",
    500: "internal-error",
    503: "unavailable",
}

_TITLES: Final = {
    "bad-request": "The request cannot be understood",
    "not-found": "No such thing",
    "method-not-allowed": "This method is not possible here",
    "not-acceptable": "Not a form that this comes in",
    "request-timeout": "Nothing came for too long",
    "conflict": "In conflict with what is there",
    "gone": "No longer there",
    "precondition-failed": "A condition of the request does not hold",
    "locked": "Somebody else is at it now",
    "checksum-mismatch": "Not what its checksum says",
    "limit-exceeded": "Larger than the limit",
    "unsupported-media-type": "Not a media type that is read here",
    "invalid-input": "An input is wrong",
    "internal-error": "The platform failed",
    "unavailable": "A part of the platform does not answer",
}


class BadRequestError(errors.CocuError):
    """The request contradicts itself or the protocol, whatever it asks for."""


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    fields: Sequence[FieldProblem] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    code = _OF_STATUSES.get(status, "bad-request" if status < 500 else "internal-error")
    problem = Problem(
        type=f"urn:cocu:problem:{code}",
        title=_TITLES.get(code) or HTTPStatus(status).phrase,
        status=status,
        detail=shortened(detail),
        instance=shortened(instance) if instance else None,
        errors=list(fields)[:MOST_FIELDS],
    )
    return Response(
        problem.model_dump_json(exclude_none=True).encode("utf-8", "replace"),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def title_of(status: int) -> str:
    """What problems of this status are called."""
    return _TITLES[_OF_STATUSES[status]]


def shortened(text: str) -> str:
    """The text without what JSON cannot carry, cut where it is longer than a person would read."""
    safe = text.encode("utf-8", "replace").decode()
    return safe if len(safe) <= LONGEST_TEXT else safe[: LONGEST_TEXT - 1] + "…"


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of this app with a problem."""

    @app.exception_handler(errors.CocuError)
    async def platform_error(request: Request, error: errors.CocuError) -> Response:
        return _of_platform_error(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        return _of_invalid_request(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request)) or headers.get("Allow", "")
        detail = _detail_of_http_error(request, error, headers)
        return problem_response(error.status_code, detail, instance=request.url.path, headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return problem_response(400, "The connection broke off before the body had arrived.")

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return _failed(request, error)


def _of_platform_error(request: Request, error: errors.CocuError) -> Response:
    if isinstance(error, BadRequestError):
        return problem_response(400, str(error), instance=request.url.path)
    for kind, status, _ in _OF_ERRORS:
        if isinstance(error, kind):
            fields = [
                FieldProblem(field=shortened(name), problem=shortened(text))
                for name, text in getattr(error, "fields", {}).items()
            ]
            headers = (
                {"Retry-After": str(RETRY_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
            )
            return problem_response(
                status, str(error), instance=request.url.path, fields=fields, headers=headers
            )
    return _failed(request, error)


def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        500, "The platform could not answer this; its log says why.", instance=request.url.path
    )


def _allowed(request: Request) -> list[str]:
    """Every method of this path; the router itself would tell those of the first route alone."""
    return [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(_takes(route, request, method) for route in request.app.routes)
    ]


def _takes(route: BaseRoute, request: Request, method: str) -> bool:
    match, _ = route.matches({**request.scope, "method": method})
    return match is Match.FULL


def _detail_of_http_error(request: Request, error: HTTPException, headers: dict[str, str]) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == "Not Found":
        return f"There is nothing at {request.url.path}; /docs lists what there is."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here; {headers['Allow']} would be."
    if error.detail == "There was an error parsing the body":
        return "The body is not JSON that can be read: malformed, nested too deeply, or not UTF-8."
    return str(error.detail)


def _of_invalid_request(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    fields = [FieldProblem(field=_path(each), problem=_what_to_do(each)) for each in found]
    if any(each.get("type") == "json_invalid" for each in found):
        return problem_response(400, "The body is not JSON.", instance=request.url.path, fields=fields)
    if _lacks_json(request, found):
        return problem_response(
            415, "Send the body as JSON, with Content-Type: application/json.", instance=request.url.path
        )
    count = len(fields)
    detail = "One input is wrong." if count == 1 else f"{count} inputs are wrong."
    return problem_response(422, detail, instance=request.url.path, fields=fields)


def _lacks_json(request: Request, found: Sequence[Any]) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    whole_body = any(tuple(each.get("loc", ())) == ("body",) for each in found)
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return whole_body and has_body and not is_json


def _path(found: Any) -> str:
    return shortened(".".join(str(part) for part in found.get("loc", ())) or "request")


def _what_to_do(found: Any) -> str:
    """Pydantic's sentence, which says what was expected; its copy of the input is left out."""
    text = str(found.get("msg", "is wrong")).removeprefix("Value error, ")
    match found.get("type"):
        case "missing":
            return "is required; give it"
        case "extra_forbidden":
            return "is not known here; remove it or check its spelling"
        case _:
            return shortened(text[:1].lower() + text[1:])
