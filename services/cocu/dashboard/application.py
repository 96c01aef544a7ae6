"""The ASGI application of the dashboard: routes, security headers, static files, errors as pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.client import ClientError, CocuClient, TrainingClient
from cocu.dashboard.client_calls import ClientCalls
from cocu.dashboard.pages import ROUTES, problem
from cocu.dashboard.pages.training import COUNT_SECONDS
from cocu.dashboard.proxy import METHODS, Proxy
from cocu.dashboard.rendering import Renderer
from cocu.dashboard.run_files import RunFiles
from cocu.http.compression import Compression
from cocu.http.hosts import HostCheck, Hosts
from cocu.http.paths import SegmentPaths

STATIC: Final = Path(__file__).parent / "static"
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS: Final = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
CALLS_AT_ONCE: Final = 16
"""Threads in which the pages of a process ask the platform."""
TRAINING_CALLS_AT_ONCE: Final = 8
TRAINING_SECONDS: Final = 15.0
"""How long a page about runs waits for one answer of the training service."""
COUNTS_AT_ONCE: Final = 4
"""Threads in which pages about something else ask how many runs there are."""


@dataclass(frozen=True)
class DashboardOptions:
    """What the dashboard serves.

    documentation: the path of the page about the REST API; None where it is not served from here.
    platform: the URL of the platform whose API is passed on below /v1; None where it is served beside the
    dashboard. hosts: names that the service answers to beside localhost and addresses. training: the URL of
    the training service whose runs are shown; training_key: an API key of it.
    """

    documentation: str | None = "/docs"
    platform: str | None = None
    hosts: tuple[str, ...] = ()
    training: str | None = None
    training_key: str | None = field(default=None, repr=False)


def create_dashboard(client: Callable[[], CocuClient], options: DashboardOptions) -> Starlette:
    """Return the dashboard of a platform.

    client: opens a client of the platform; it is called once, at the first page.
    """
    digest = digest_of(STATIC)
    routes: list[BaseRoute] = [
        Mount(f"/static/{digest}", ImmutableFiles(directory=STATIC), name="static"),
        *(Route(path, handler, methods=methods) for path, methods, handler in ROUTES),
    ]
    training: ClientCalls[TrainingClient] | None = None
    counts: ClientCalls[TrainingClient] | None = None
    if (service := options.training) is not None:
        key = options.training_key
        routes.append(Route("/training/runs/{run}/files/{name:path}", RunFiles(service, key).show))
        training = ClientCalls(
            lambda: TrainingClient(service, key, retries=0, timeout=TRAINING_SECONDS),
            at_once=TRAINING_CALLS_AT_ONCE,
        )
        counts = ClientCalls(
            lambda: TrainingClient(service, key, retries=0, timeout=COUNT_SECONDS),
            at_once=COUNTS_AT_ONCE,
        )
    middleware = [Middleware(SecurityHeaders)]
    if options.platform is not None:
        routes += [
            Route("/v1/{path:path}", Proxy(options.platform).pass_on, methods=METHODS),
            Route("/healthz", _health),
        ]
        middleware = [
            Middleware(SegmentPaths),
            Middleware(HostCheck, hosts=Hosts(options.hosts)),
            *middleware,
            # Beside the API that one's compresses. What is passed on is compressed already, or a file.
            Middleware(Compression),
        ]
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={
            ClientError: problem.client_error,
            HTTPException: problem.http_error,
        },
    )
    app.state.calls = ClientCalls(client, at_once=CALLS_AT_ONCE)
    app.state.training = training
    app.state.counts = counts
    app.state.renderer = Renderer(
        static=f"/static/{digest}", documentation=options.documentation, has_training=training is not None
    )
    return app


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def digest_of(folder: Path) -> str:
    """The first 12 digits of a hash over the names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class ImmutableFiles(StaticFiles):
    """Static files below a path that names their content: browsers need never ask again."""

    def file_response(self, *arguments: object, **options: object) -> Response:
        """The file, to be kept for a year."""
        response = super().file_response(*arguments, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class SecurityHeaders:
    """ASGI middleware: every answer says that nothing of another origin is to be loaded or run."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)
