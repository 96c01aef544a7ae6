"""Unexpected errors: a problem without internals, and a connection that is closed where it must be."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.api.problems import unexpected_error


class ServerErrors:
    """ASGI middleware that answers 500 for every error that came this far.

    The connection stays open, as after any other answer. Only where the body of the request has not been read
    is it closed, and the answer says so: the rest of the body would be read as the next request. Once an
    answer has begun, the error is raised to the server, which closes the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        has_begun = False

        async def receive_watched() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                unread = False
            return message

        async def send_watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive_watched, send_watched)
        except Exception as error:
            if has_begun:
                raise
            response = unexpected_error(Request(scope), error)
            if unread:
                response.headers["Connection"] = "close"
            await response(scope, receive, send)
