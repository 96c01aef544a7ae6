"""Compression (gzip) of JSON and text, where the client accepts it and the answer is whole and large enough.

Not of streams, images, exports and parts (Range): they are compressed already, or have to begin at once, or
are cut by their length. A compressed answer is another representation of the same resource, so its ETag ends
with `-gzip`. From those who accept gzip, If-None-Match is passed on without this ending, so that no route has
to know it, and a 304 repeats the tag that the client has. Parts are always of the uncompressed bytes:
If-Range with a tag of compressed ones gets the whole, as with every other tag.

Answers hold no secrets beside texts of others, so their lengths tell nothing worth guessing (BREACH).
"""

from __future__ import annotations

import gzip
from http import HTTPStatus
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES: Final = 1_000
"""Smaller answers fit into a packet or two anyway."""
LEVEL: Final = 5
"""Between speed and size, as `benchmarks.compression` measures them: higher levels hardly save more."""
THREAD_BYTES: Final = 64_000
"""Longer answers are compressed on a thread: they take more than a millisecond."""
ETAG_SUFFIX: Final = "-gzip"

_SUFFIX: Final = f'{ETAG_SUFFIX}"'.encode()
_TYPES: Final = ("application/json", "application/javascript", "image/svg+xml", "text/")


def accepts_gzip(headers: Headers) -> bool:
    """Whether a request with these headers accepts gzip (RFC 9110, 12.5.3)."""
    qualities: dict[str, float] = {}
    for element in ",".join(headers.getlist("accept-encoding")).split(","):
        coding, _, parameter = element.partition(";")
        name, _, value = parameter.partition("=")
        try:
            quality = float(value) if name.strip().lower() == "q" else 1.0
        except ValueError:
            quality = 0.0
        qualities[coding.strip().lower()] = quality
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def tag_of_compressed(etag: str) -> str:
    """Return the ETag of the compressed form of an answer; `etag` is quoted, and so is the result.

    >>> tag_of_compressed('"a1"')
    '"a1-gzip"'
    """
    return f'{etag[:-1]}{ETAG_SUFFIX}"'


class Compression:
    """ASGI middleware that compresses answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        await self.app(scope, receive, answer.send)
        await answer.finish()


class _Answer:
    """One answer while it is sent. `_start` is held back until the body is there, whose length it tells."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        # As they came: what is changed below is for the routes.
        self._headers = Headers(scope=scope)
        self._accepted = accepts_gzip(self._headers)
        # A range is one of the bytes that the answer has without compression.
        self._wanted = self._accepted and "range" not in self._headers
        self._start: Message | None = None
        if self._accepted:
            # In the scope itself, not in a copy: the router tells metrics the route by it.
            scope["headers"] = [_with_plain_tags(*header) for header in scope["headers"]]

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._start is None:
            await self._send(message)
        elif message["type"] != "http.response.body" or message.get("more_body", False):
            await self.finish()
            await self._send(message)
        else:
            await self._compress(self._start, message)

    async def finish(self) -> None:
        """Send what was held back, as it is."""
        start, self._start = self._start, None
        if start is not None:
            await self._send(start)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        if message["status"] == HTTPStatus.NOT_MODIFIED:
            self._repeat_tag(headers)
        elif message["status"] == HTTPStatus.PARTIAL_CONTENT and _is_text(headers):
            headers.add_vary_header("Accept-Encoding")
        elif _may_be_compressed(message["status"], headers):
            headers.add_vary_header("Accept-Encoding")
            if self._wanted:
                self._start = message
                return
        await self._send(message)

    def _repeat_tag(self, headers: MutableHeaders) -> None:
        if "vary" not in headers:
            # One with a Vary is of an image, which is never compressed.
            headers["Vary"] = "Accept-Encoding"
        compressed = tag_of_compressed(headers.get("etag", '""'))
        if self._accepted and compressed in self._headers.get("if-none-match", ""):
            headers["ETag"] = compressed

    async def _compress(self, start: Message, message: Message) -> None:
        self._start = None
        body = bytes(message.get("body", b""))
        headers = MutableHeaders(scope=start)
        _mark_compressed(headers)
        if not body:
            # A HEAD whose route makes no body: the compressed length is unknown.
            del headers["Content-Length"]
            await self._send(start)
            await self._send(message)
            return
        if len(body) < THREAD_BYTES:
            compressed = _gzip(body)
        else:
            compressed = await anyio.to_thread.run_sync(_gzip, body)
        headers["Content-Length"] = str(len(compressed))
        await self._send(start)
        await self._send({**message, "body": compressed})


def _with_plain_tags(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return the same header; the tags of If-None-Match are those of uncompressed answers."""
    return name, value.replace(_SUFFIX, b'"') if name == b"if-none-match" else value


def _gzip(body: bytes) -> bytes:
    # Without a time: the same answer has the same bytes.
    return gzip.compress(body, LEVEL, mtime=0)


def _may_be_compressed(status: int, headers: MutableHeaders) -> bool:
    return (
        status not in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NO_CONTENT}
        and _is_text(headers)
        and "content-encoding" not in headers
        # Without a length it is a stream; with a name it is a file, whose bytes are those of its ETag.
        and int(headers.get("content-length", "0")) >= MIN_BYTES
        and "content-disposition" not in headers
    )


def _is_text(headers: MutableHeaders) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.startswith(_TYPES) or kind.endswith("+json")


def _mark_compressed(headers: MutableHeaders) -> None:
    headers["Content-Encoding"] = "gzip"
    if headers.get("etag", "").startswith('"'):
        headers["ETag"] = tag_of_compressed(headers["etag"])
    if "accept-ranges" in headers:
        headers["Accept-Ranges"] = "none"
