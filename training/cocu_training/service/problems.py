"""Turns every error into an RFC 9457 problem, with the platform's types.

Problems contain nothing that was sent, and no text of a database, file system or traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from cocu.schemas.base import FieldProblem, Problem
from cocu_training.service.errors import MissingError, RefusedError

MEDIA_TYPE: Final = "application/problem+json"
MAX_TEXT: Final = 500
MAX_FIELDS: Final = 50

log = logging.getLogger(__name__)

KINDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad-request", "The request cannot be understood"),
    401: ("unauthorized", "Who asks is not known"),
    404: ("not-found", "No such thing"),
    405: ("method-not-allowed", "This method is not possible here"),
    409: ("conflict", "In conflict with what is there"),
    413: ("limit-exceeded", "Larger than the limit"),
    415: ("unsupported-media-type", "Not a media type that is read here"),
    416: ("range-not-satisfiable", "The file has no such part"),
    422: ("invalid-input", "An input is wrong"),
    429: ("too-many", "Too many at once"),
    500: ("internal-error", "The service failed"),
    503: ("unavailable", "A part of the platform does not answer"),
}


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    code, title = KINDS.get(status) or KINDS[400 if status < 500 else 500]
    problem = Problem(
        type=f"urn:cocu:problem:{code}",
        title=title,
        status=status,
        detail=shortened(detail),
        instance=shortened(instance) if instance else None,
        errors=[
            FieldProblem(field=shortened(name), problem=shortened(text))
            for name, text in list((fields or {}).items())[:MAX_FIELDS]
        ],
    )
    return Response(
        problem.model_dump_json(exclude_none=True).encode("utf-8", "replace"),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def shortened(text: str) -> str:
    """The text in valid UTF-8, cut at MAX_TEXT characters."""
    safe = text.encode("utf-8", "replace").decode()
    return safe if len(safe) <= MAX_TEXT else safe[: MAX_TEXT - 1] + "…"


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of this app with a problem."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        return problem_response(
            error.status,
            str(error),
            instance=request.url.path,
            fields=error.fields,
            headers=error.headers,
        )

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        return _of_invalid_request(request, error.errors())

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request)) or headers.get("Allow", "")
        return problem_response(
            error.status_code, _sentence(request, error), instance=request.url.path, headers=headers
        )

    @app.exception_handler(FileNotFoundError)
    async def gone(request: Request, error: FileNotFoundError) -> Response:
        # The trainer may delete an old checkpoint between listing and opening it.
        return await refused(request, MissingError("the file is not there any more"))

    @app.exception_handler(ClientDisconnect)
    async def disconnected(request: Request, error: ClientDisconnect) -> Response:
        return problem_response(400, "The connection broke off before the body had arrived.")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(
            500, "The service could not answer this; its log says why.", instance=request.url.path
        )


def _allowed(request: Request) -> list[str]:
    """Every method of this path; the router itself reports only those of the first route."""
    routes: Sequence[BaseRoute] = request.app.routes
    return [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _sentence(request: Request, error: HTTPException) -> str:
    match error.status_code:
        case HTTPStatus.NOT_FOUND if error.detail == "Not Found":
            return "There is nothing at this path; /openapi.json lists all paths."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.method} is not possible here."
        case HTTPStatus.BAD_REQUEST:
            return "The body is not JSON that can be read: malformed, nested too deeply, or not UTF-8."
    return str(error.detail)


def _of_invalid_request(request: Request, errors: Sequence[Any]) -> Response:
    fields = {_path(error): _what_to_do(error) for error in errors}
    if any(error.get("type") == "json_invalid" for error in errors):
        return problem_response(400, "The body is not JSON.", instance=request.url.path, fields=fields)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_body = any(tuple(error.get("loc", ())) == ("body",) for error in errors)
    if is_body and not kind.endswith("json") and request.headers.get("content-length", "0") != "0":
        return problem_response(
            415, "Send the body as JSON, with Content-Type: application/json.", instance=request.url.path
        )
    detail = "One input is wrong." if len(fields) == 1 else f"{len(fields)} inputs are wrong."
    return problem_response(422, detail, instance=request.url.path, fields=fields)


def _path(error: Any) -> str:
    return ".".join(str(part) for part in error.get("loc", ())) or "request"


def _what_to_do(error: Any) -> str:
    match error.get("type"):
        case "missing":
            return "is required; give it"
        case "extra_forbidden":
            return "is not known here; remove it or check its spelling"
    text = str(error.get("msg", "is wrong")).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
