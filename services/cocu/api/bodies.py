"""Bodies of requests as JSON, at a cost that is bounded for the whole process.

Small bodies are parsed in the event loop. Large ones are parsed in a thread, one at a time, and only after
their values were counted: a body of brackets alone would take fifty times its size in memory, and parsing it
would block every other answer. Labels may have millions of values: they are spooled to the disk and parsed
from there piece by piece.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu.errors import UnavailableError

SMALL_BYTES: Final = 64 << 10
MAX_VALUES: Final = 200_000
"""The most values of a body that is parsed as a whole: valid bodies have few values, mostly texts."""
BLOCK: Final = 256 << 10
WRITE_BYTES: Final = 1 << 20


class JsonRequest(Request):
    """A request whose JSON is parsed without blocking other requests."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the same request as one of this class; nothing of its body may have been read."""
        if isinstance(request, cls):
            return request
        return cls(request.scope, request.receive, request._send)

    async def json(self) -> Any:
        """Return the body as JSON. Raises JSONDecodeError, and HTTPException (413) for too many values."""
        if not hasattr(self, "_parsed"):
            body = await self.body()
            if len(body) <= SMALL_BYTES:
                self._parsed = json.loads(body)
            else:
                async with self.app.state.parsing:
                    self._parsed = await run_in_threadpool(_loads, body)
        return self._parsed

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the whole body."""
        yield await self.body()

    def release(self) -> None:
        """Release what was kept for this request."""


class SpooledRequest(JsonRequest):
    """A request whose body is spooled to a file, which is deleted after the answer."""

    size = 0
    """Bytes of the body, once it is in the file."""
    _file: IO[bytes] | None = None

    async def file(self) -> IO[bytes]:
        """Return the whole body as a file, from its start. Raises UnavailableError without room for it."""
        if self._file is None:
            folder: Path = self.app.state.platform.settings.data_folder
            self._file = tempfile.SpooledTemporaryFile(WRITE_BYTES, dir=str(folder))  # noqa: SIM115 - closed below
            try:
                await self._spool(self._file)
            except OSError as error:
                raise UnavailableError(f"the body cannot be kept while it is read: {error}") from error
        self._file.seek(0)
        return self._file

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the whole body, a piece at a time."""
        file = await self.file()
        while piece := await run_in_threadpool(file.read, WRITE_BYTES):
            yield piece

    def release(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()

    async def _spool(self, file: IO[bytes]) -> None:
        buffer = bytearray()
        async for piece in self.stream():
            buffer += piece
            self.size += len(piece)
            if len(buffer) >= WRITE_BYTES:
                await run_in_threadpool(file.write, buffer)
                buffer = bytearray()
        await run_in_threadpool(file.write, buffer)


async def spool_json(request: Request) -> tuple[IO[bytes], int]:
    """Return the body of a `SpooledRequest` as a file, and its size.

    Raises RequestValidationError without a body, HTTPException (415) for another content type than JSON.
    """
    assert isinstance(request, SpooledRequest)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    file = await request.file()
    if not request.size:
        missing = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}
        raise RequestValidationError([missing])
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "Send the body as JSON, with Content-Type: application/json.")
    return file, request.size


class JsonRoute(APIRoute):
    """A route that parses JSON as `JsonRequest` does."""

    request_class: type[JsonRequest] = JsonRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, wrapped."""
        handle = super().get_route_handler()

        async def bounded(original: Request) -> Response:
            request = self.request_class.of(original)
            try:
                return await handle(request)
            finally:
                request.release()

        return bounded


def count_values(body: bytes, *, limit: int) -> int:
    """Return an upper bound of the number of values in JSON; stop counting a little above `limit`.

    It counts the separators outside of strings, which needs no parser. Other threads run between blocks.
    """
    count, in_string, carried = 1, False, b""
    for block in _blocks(body):
        # Without escapes, every quote begins or ends a string. An escape may be cut by the end of the block:
        # its backslash is carried over to the next block.
        escaped = carried + block
        carried = b"\\" if (len(escaped) - len(escaped.rstrip(b"\\"))) % 2 else b""
        plain = escaped[: len(escaped) - len(carried)].replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = plain.split(b'"')
        outside = b" ".join(parts[in_string::2])
        count += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        in_string ^= len(parts) % 2 == 0
        if count > limit:
            break
    return count


def _blocks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), BLOCK):
        yield body[start : start + BLOCK]


def _loads(body: bytes) -> Any:
    if count_values(body, limit=MAX_VALUES) > MAX_VALUES:
        raise HTTPException(413, f"The body has more than {MAX_VALUES:,} values, which is the limit here.")
    return json.loads(body)
