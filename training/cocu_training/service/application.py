"""The FastAPI application of the service."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import cocu
from cocu.client import ClientError
from cocu.http.hosts import HostCheck, Hosts
from cocu.schemas.base import Health, Problem
from cocu_training.service.dependencies import Service, ServiceOf
from cocu_training.service.keys import Keys
from cocu_training.service.problems import add_problem_handlers, problem_response
from cocu_training.service.routes import problem_answers, router
from cocu_training.service.runner import Runner
from cocu_training.service.runs import Runs
from cocu_training.service.settings import DEFAULT_TENANT, ServiceSettings

LARGEST_BODY = 1 << 20
DESCRIPTION = """
Train GroupViT on a curation of the platform, one run at a time: submit, follow, stop, resume, fetch results,
delete.

Errors are problems (RFC 9457). Lists come in pages: `next` of one page is the `cursor` of the following.
"""


def create_app(*, settings: ServiceSettings, runs: Runs, runner: Runner, keys: Keys) -> FastAPI:
    """Make the application; the caller closes its parts."""
    app = FastAPI(
        title="cocu training",
        summary="Training on curated batches.",
        description=DESCRIPTION,
        version=cocu.__version__,
        middleware=[Middleware(HostCheck, hosts=Hosts(settings.hosts)), Middleware(BodyLimit)],
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0"},
    )
    app.state.service = Service(settings, runs, runner, keys, threading.Event())
    add_problem_handlers(app)
    app.include_router(router)
    _add_health(app)
    _complete_document(app, keys)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"])
    async def get_health() -> Health:
        """Answer as long as the process does."""
        return Health(status="ok", version=cocu.__version__)

    @app.get("/readyz", tags=["health"], responses={503: {"model": Health}})
    def get_readiness(service: ServiceOf, response: Response) -> Health:
        """Answer 200 when runs can be submitted and are run, else 503.

        A platform that does not answer is reported, but counts as ready: runs wait for it.
        """
        service.runs.active()
        ready = service.runner.alive
        parts = {"database": "ok", "runner": "ok" if ready else "stopped", "platform": _platform(service)}
        response.status_code = 200 if ready else 503
        return Health(status="ok" if ready else "stopped", version=cocu.__version__, parts=parts)


def _platform(service: Service) -> str:
    try:
        with service.platform(DEFAULT_TENANT) as client:
            client.health()
    except ClientError:
        return "unavailable"
    return "ok"


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function: it, and so generated clients, stay when paths or tags change."""
    return route.name


def _complete_document(app: FastAPI, keys: Keys) -> None:
    """Add to the OpenAPI document what FastAPI does not know: problems, and whether a key is needed."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _describe_problems(generate())
        schema = generate()
        for operation in (operation for path in schema["paths"].values() for operation in path.values()):
            if "security" in operation:
                operation["security"] = [{"HTTPBearer": []}, *([] if keys.required else [{}])]
        return schema

    app.openapi = document  # type: ignore[method-assign]


def _describe_problems(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for path in document["paths"].values():
        for operation in path.values():
            if "422" in operation["responses"]:
                operation["responses"] |= problem_answers(422, key=str)


class BodyLimit:
    """ASGI middleware that refuses bodies larger than LARGEST_BODY."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 at once where the length is known, else when the limit is passed while reading."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        detail = f"The body is larger than {LARGEST_BODY:,} bytes, which is the limit."
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > LARGEST_BODY:
            response = problem_response(413, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        await self.app(scope, counted, send)
