"""HEAD for every path with GET: the same status and headers, without a body and its cost.

Routes declare GET only. A HEAD without a route of its own runs as the GET of the same path, and ends where
the body would begin. Streams are never started, and routes with an expensive body ask `wants_body`.
"""

from __future__ import annotations

from fastapi import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MARK = "cocu.head"


class HeadRequests:
    """ASGI middleware that answers HEAD by GET."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, a HEAD as a GET, and end a HEAD once its headers are sent."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or _takes_head(scope):
            await self.app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            raise _AnsweredError

        try:
            await self.app({**scope, "method": "GET", _MARK: True}, receive, headers_only)
        except* _AnsweredError:
            # `except*`, because task groups of streams wrap it in an exception group.
            pass


class _AnsweredError(Exception):
    """Raised to end the route of a HEAD: its headers have been sent."""


def wants_body(request: Request) -> bool:
    """Whether the body of the answer will be sent; its headers always are."""
    return _MARK not in request.scope


def method_of(scope: Scope) -> str:
    """Return the method that the client sent: HEAD also where it runs as GET."""
    return "HEAD" if _MARK in scope else str(scope["method"])


def _takes_head(scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in scope["app"].routes)
