"""Sizes of request bodies: JSON stays small, labels may be large, uploads have a limit of their own."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.api.problems import RETRY_SECONDS, problem_response

MEBIBYTE = 1 << 20
MEMORY_BYTES = 192 * MEBIBYTE
DISK_BYTES = 1024 * MEBIBYTE
"""The most bytes of all bodies of requests that are not answered yet, in memory and on the disk."""


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """The most bytes of a body, by its purpose."""

    json: int
    vocabulary: int
    labels: int
    upload: int
    search: int

    def of(self, path: str) -> int:
        """Return the limit for requests to this path."""
        parts = path.split("/")
        if "uploads" in parts[4:5]:
            return self.upload
        if _has_labels(parts):
            return self.labels
        if parts[-1] == "vocabularies" or (parts[1] == "vocabularies" and parts[-1] == "edit"):
            return self.vocabulary
        if path in {"/v1/search", "/search"}:
            return self.search
        return self.json

    def kept_in(self, path: str) -> str | None:
        """Return where bodies of requests to this path are kept until the answer; None: they are streamed."""
        parts = path.split("/")
        if "uploads" in parts[4:5]:
            return None
        return "disk" if _has_labels(parts) else "memory"


def _has_labels(parts: list[str]) -> bool:
    """Whether requests to this path send labels: /v1/curations/…/evaluations, /v1/datasets/…/labels/…"""
    return parts[-1] == "evaluations" or (parts[-4:-3] == ["datasets"] and parts[-2:-1] == ["labels"])


class BodyLimit:
    """ASGI middleware that refuses requests whose body is larger than its limit.

    The size of all bodies together is limited too, in memory and on the disk. A request that comes when there
    is no room gets 503 with Retry-After.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app = app
        self.limits = limits
        self._room = {
            "memory": max(MEMORY_BYTES, 2 * max(limits.json, limits.vocabulary, limits.search)),
            "disk": max(DISK_BYTES, 2 * limits.labels),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 at once where the length is known, else when the body passes the limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.of(scope["path"])
        detail = f"The body is larger than {limit:,} bytes, which is the limit here."
        length = Headers(scope=scope).get("content-length", "0")
        is_known = length.isdigit() and int(length) > limit
        if is_known and scope["path"].startswith("/v1/"):
            response = problem_response(413, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        received = 0
        kept_in = self.limits.kept_in(scope["path"])

        async def receive_counted() -> Message:
            nonlocal received
            if is_known:
                # A page of the dashboard says it in its own way.
                raise HTTPException(413, detail, headers={"Connection": "close"})
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            if kept_in is not None:
                self._room[kept_in] -= size
                if self._room[kept_in] < 0:
                    headers = {"Connection": "close", "Retry-After": str(RETRY_SECONDS)}
                    raise HTTPException(
                        503, "Too many large bodies are being read; try again later.", headers
                    )
            if received > limit:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        try:
            await self.app(scope, receive_counted, send)
        finally:
            if kept_in is not None:
                self._room[kept_in] += received
