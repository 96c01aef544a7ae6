"""Response bodies that are read into the caller's memory.

httpx returns pieces of 64 kB that have been copied three times. For a stream of images that costs a trainer
two thirds more processor time. So http.client receives such a stream: it reads from the socket straight into
the caller's memory. httpx receives it where there is a proxy or a custom transport: only httpx supports
these.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx


class ResponseBody(Protocol):
    """The body of a response."""

    def readinto(self, target: memoryview) -> int:
        """Write some bytes into the target and return their number; 0 at the end."""


class HttpxBody:
    """The body of a response of httpx."""

    def __init__(self, response: httpx.Response) -> None:
        self._pieces = response.iter_bytes()
        self._rest = memoryview(b"")

    def readinto(self, target: memoryview) -> int:
        """Write the rest of the current piece, or the next piece, into the target."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        part = self._rest[: len(target)]
        target[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


@contextmanager
def open_directly(
    request: httpx.Request, *, connect: float | None, read: float | None
) -> Iterator[http.client.HTTPResponse]:
    """Send a request without a body by http.client; timeouts in seconds. Raises OSError, HTTPException."""
    url = request.url
    port = url.port or (443 if url.scheme == "https" else 80)
    connection = (
        http.client.HTTPSConnection(url.host, port, timeout=connect, context=httpx.create_ssl_context())
        if url.scheme == "https"
        else http.client.HTTPConnection(url.host, port, timeout=connect)
    )
    try:
        connection.connect()
        connection.sock.settimeout(read)
        headers = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
        connection.request(request.method, url.raw_path.decode("ascii"), headers=headers)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


_OWN_HEADERS = ("accept-encoding", "connection")
"""Headers that http.client sets itself."""
