"""Range requests (RFC 9110): immutable answers with a known length are also sent in parts.

Such an answer has `Accept-Ranges: bytes`. If it has a Content-Length, it is cut here; a route that can begin
in the middle calls `parse_range` itself and answers 206. All other streams have `Accept-Ranges: none`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocu.api.head_requests import method_of
from cocu.api.problems import problem_response
from cocu.errors import CocuError

_SINGLE_RANGE = re.compile(
    r"bytes\s*=\s*,*\s*(\d{1,19})?\s*-\s*(\d{1,19})?\s*,*\s*", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` (not included) of `size`."""

    start: int
    end: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer with this part."""
        content_range = f"bytes {self.start}-{self.end - 1}/{self.size}"
        return {"Content-Range": content_range, "Content-Length": str(self.end - self.start)}


class RangeError(CocuError):
    """A range that begins after the end of `size` bytes: 416."""

    def __init__(self, size: int) -> None:
        super().__init__(f"There are {size:,} bytes; the range begins behind them.")
        self.headers = {"Content-Range": f"bytes */{size}"}


def parse_range(headers: Headers, *, size: int, etag: str) -> Part | None:
    """Return the part that a request with these headers asks for; None where it gets the whole.

    It gets the whole also where it asks for several parts, in unknown units, or with If-Range for a part of
    another version. Raises RangeError.
    """
    match = _SINGLE_RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or (match[1] is None and match[2] is None):
        return None
    # Strong comparison: weak tags and dates do not guarantee equal bytes.
    if headers.get("if-range", etag).strip() != etag:
        return None
    if match[1] is None:
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), size if match[2] is None else min(int(match[2]) + 1, size)
        if match[2] is not None and int(match[2]) < start:
            return None
    if start >= size or start >= end:
        raise RangeError(size)
    return Part(start, end, size)


class Ranges:
    """ASGI middleware that sends a part where the request asks for one and the answer allows it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and cut the answer."""
        if scope["type"] == "http" and scope["method"] == "GET":
            await self.app(scope, receive, _CutAnswer(scope, receive, send).send)
        else:
            await self.app(scope, receive, send)


class _CutAnswer:
    """One answer while it is sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._part: Part | None = None
        self._refused = False
        self._position = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            await self._begin(message)
        elif not self._refused:
            if self._part is not None:
                message = self._cut(message, self._part)
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        length = headers.get("content-length")
        if length is None:
            headers.setdefault("Accept-Ranges", "none")
        elif headers.get("accept-ranges") == "bytes" and method_of(self._scope) == "GET":
            try:
                self._part = parse_range(
                    Headers(scope=self._scope), size=int(length), etag=headers.get("etag", "")
                )
            except RangeError as error:
                self._refused = True
                await range_error_response(error, self._scope["path"])(self._scope, self._receive, self._send)
                return
        if self._part is not None:
            headers.update(self._part.headers)
            message = {**message, "status": 206}
        await self._send(message)

    def _cut(self, message: Message, part: Part) -> Message:
        body = memoryview(message.get("body", b""))
        start, end = max(part.start - self._position, 0), max(part.end - self._position, 0)
        self._position += body.nbytes
        return {**message, "body": bytes(body[start:end])}


def range_error_response(error: RangeError, path: str) -> Response:
    """Return the answer to a range without any bytes."""
    return problem_response(416, str(error), instance=path, headers=error.headers)
