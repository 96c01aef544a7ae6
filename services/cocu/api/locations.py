"""Relative locations, which are right under any path at which a proxy mounts the platform.

A proxy that serves the platform under a prefix removes the prefix, often without a header that names it. So
references in answers are relative to the path of the request: `../../v1/datasets/…` climbs to the root of the
platform and goes down from there (RFC 3986, 5.2; clients resolve Location in this way).
"""

from __future__ import annotations

from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_PATH: ContextVar[str] = ContextVar("request_path", default="/")
"""The path of the request that is being answered."""


class RelativeLocations:
    """ASGI middleware that makes every Location relative that begins with a slash. `link` needs it too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        _REQUEST_PATH.set(scope["path"])

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/"):
                    headers["Location"] = make_relative(location, to=scope["path"])
            await send(message)

        await self.app(scope, receive, send_relative)


def link(target: str) -> str:
    """Return `target`, a path of the platform, relative to the path of the current request."""
    return make_relative(target, to=_REQUEST_PATH.get())


def make_relative(target: str, *, to: str) -> str:
    """Return `target`, a path of the platform, relative to the path `to`.

    >>> make_relative("/v1/datasets/d1", to="/v1/datasets"), make_relative("/docs", to="/")
    ('../v1/datasets/d1', 'docs')
    """
    return "../" * (to.count("/") - 1) + target.removeprefix("/")
