"""Sizes of request bodies: JSON stays small, labels may be large, uploads have a limit of their own."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.api.problems import problem_response

MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """Bytes that a body may have, by what it is for."""

    json: int
    vocabulary: int
    labels: int
    upload: int
    search: int

    def of(self, path: str) -> int:
        """The limit for requests to this path."""
        parts = path.split("/")
        if "uploads" in parts[4:5]:
            return self.upload
        if parts[-1] == "evaluations":
            return self.labels
        if parts[-1] == "vocabularies":
            return self.vocabulary
        if path == "/v1/search":
            return self.search
        return self.json


class BodyLimit:
    """ASGI middleware that ends requests whose body is, or turns out to be, larger than its limit."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 at once where the length is known, else when the limit is passed while reading."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.of(scope["path"])
        detail = f"The body is larger than {limit:,} bytes, which is the limit here."
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            response = problem_response(413, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        await self.app(scope, counted, send)
