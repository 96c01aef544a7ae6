"""Answers received into memory of the caller's.

httpx hands over bytes in pieces of 64 kB that have been copied three times by then, which costs a trainer two
thirds more processor time for a stream of images. So such a stream is received by http.client, which reads
from the socket into the caller's memory; by httpx where only httpx knows the way, which is through a proxy or
a transport of its own.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import httpx


class Receiver(Protocol):
    """The body of an answer."""

    def readinto(self, target: memoryview) -> int:
        """Put some bytes into the target and say how many; none are left when it says 0."""


class Pieces:
    """The body of an answer of httpx."""

    def __init__(self, answer: httpx.Response) -> None:
        self._pieces = answer.iter_bytes()
        self._left = memoryview(b"")

    def readinto(self, target: memoryview) -> int:
        """Put what is left of a piece into the target."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        part = self._left[: len(target)]
        target[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)


def is_direct(url: httpx.URL) -> bool:
    """Whether no proxy stands between."""
    return url.scheme not in getproxies() or bool(proxy_bypass(url.host))


@contextmanager
def direct(
    request: httpx.Request, *, connect: float | None, read: float | None
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request without a body; timeouts in seconds. Raises OSError, HTTPException."""
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
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        connection.request(request.method, url.raw_path.decode("ascii"), headers=headers)
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


_OWN = ("accept-encoding", "connection")
"""Headers in which http.client speaks for itself."""
