"""Every error as an RFC 9457 problem: the only place where errors of the platform become HTTP.

    InvalidInputError (and InvalidBundleError)   422  invalid-input
    NotFoundError                                404  not-found
    ConflictError                                409  conflict
    LimitExceededError                           413  limit-exceeded
    UnavailableError                             503  unavailable, with Retry-After
    MachineError                                 500  internal-error, with what the operator must do
    IntegrityError                               500  damaged-data: which object, and what to do
    every unexpected error                       500  internal-error, without details

`type` is `urn:cocu:problem:<code>`: stable, for programs. Problems never repeat long input, and contain no
text of a database, a file system or a trace.
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

from cocu import errors, machine
from cocu.http.problems import MAX_FIELDS, MEDIA_TYPE, problem_response, shorten, title_of
from cocu.schemas import FieldProblem

RETRY_SECONDS: Final = 5

__all__ = [
    "MEDIA_TYPE",
    "BadRequestError",
    "add_problem_handlers",
    "problem_response",
    "shorten",
    "title_of",
]

log = logging.getLogger(__name__)

_OF_ERRORS: Final[Sequence[tuple[type[errors.CocuError], int, str]]] = (
    (errors.InvalidInputError, 422, "invalid-input"),
    (errors.NotFoundError, 404, "not-found"),
    (errors.ConflictError, 409, "conflict"),
    (errors.LimitExceededError, 413, "limit-exceeded"),
    (errors.UnavailableError, 503, "unavailable"),
    (errors.MachineError, 500, "internal-error"),
)


class BadRequestError(errors.CocuError):
    """The request is malformed or breaks the protocol."""


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
            headers["Allow"] = ", ".join(list_methods(request)) or headers.get("Allow", "")
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        detail = _detail_of_http_error(request, error, headers)
        return problem_response(error.status_code, detail, instance=request.url.path, headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(request: Request, error: ClientDisconnect) -> Response:
        return problem_response(400, "The connection was closed before the whole body had arrived.")


def _of_platform_error(request: Request, error: errors.CocuError) -> Response:
    if isinstance(error, errors.NoRoomError):
        request.app.state.platform.disk_space.report_full(error)
    if isinstance(error, errors.MachineError):
        log.error("%s %s failed: %s", request.method, request.url.path, machine.describe(error))
    if isinstance(error, BadRequestError):
        return problem_response(400, str(error), instance=request.url.path)
    for kind, status, _ in _OF_ERRORS:
        if isinstance(error, kind):
            fields = [
                FieldProblem(field=shorten(name), problem=shorten(text))
                for name, text in getattr(error, "fields", {}).items()
            ]
            headers = (
                {"Retry-After": str(RETRY_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
            )
            return problem_response(
                status, str(error), instance=request.url.path, fields=fields, headers=headers
            )
    if isinstance(error, errors.IntegrityError):
        log.error("%s %s: %s", request.method, request.url.path, error)
        return problem_response(500, str(error), instance=request.url.path, code="damaged-data")
    return unexpected_error(request, error)


def unexpected_error(request: Request, error: Exception) -> Response:
    """Return a 500 for an error that has no answer of its own, and log it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        500, "The platform could not answer this; its log says why.", instance=request.url.path
    )


def list_methods(request: Request) -> list[str]:
    """Return every method of this path; the router itself knows only those of the first matching route."""
    methods = [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(_takes(route, request, method) for route in request.app.routes)
    ]
    if "GET" in methods and "HEAD" not in methods:
        methods.insert(1, "HEAD")
    return [*methods, "OPTIONS"] if methods else []


def _takes(route: BaseRoute, request: Request, method: str) -> bool:
    match, _ = route.matches({**request.scope, "method": method})
    return match is Match.FULL


def _detail_of_http_error(request: Request, error: HTTPException, headers: dict[str, str]) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == "Not Found":
        return f"There is nothing at {request.url.path}; /docs lists all paths."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not supported here; use one of {headers['Allow']}."
    if error.detail == "There was an error parsing the body":
        return "The body is not JSON that can be read: malformed, nested too deeply, or not UTF-8."
    return str(error.detail)


def _of_invalid_request(request: Request, error: RequestValidationError) -> Response:
    details = error.errors()
    # A body may have a hundred thousand errors.
    fields = [
        FieldProblem(field=_path(detail), problem=_what_to_do(detail)) for detail in details[:MAX_FIELDS]
    ]
    if any(detail.get("type") == "json_invalid" for detail in details):
        return problem_response(400, "The body is not JSON.", instance=request.url.path, fields=fields)
    if _lacks_json(request, details):
        return problem_response(
            415, "Send the body as JSON, with Content-Type: application/json.", instance=request.url.path
        )
    count = len(details)
    text = "One input is wrong." if count == 1 else f"{count} inputs are wrong."
    text += "" if count <= MAX_FIELDS else f" The first {MAX_FIELDS} are named."
    return problem_response(422, text, instance=request.url.path, fields=fields)


def _lacks_json(request: Request, details: Sequence[Any]) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    whole_body = any(tuple(detail.get("loc", ())) == ("body",) for detail in details)
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return whole_body and has_body and not is_json


def _path(error: Any) -> str:
    return shorten(".".join(str(part) for part in error.get("loc", ())) or "request")


def _what_to_do(error: Any) -> str:
    """Return Pydantic's sentence, which says what was expected, without its copy of the input."""
    text = str(error.get("msg", "is wrong")).removeprefix("Value error, ")
    match error.get("type"):
        case "missing":
            return "is required; give it"
        case "extra_forbidden":
            return "is not known here; remove it or check its spelling"
        case _:
            # Problems of fields begin in lower case; "JSON" stays as it is.
            return shorten(text if text[:2].isupper() else text[:1].lower() + text[1:])
