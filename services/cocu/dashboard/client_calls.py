"""Calls of a synchronous client from asynchronous pages, in threads of their own.

Embedded, the platform that is asked runs in this process: on the shared pool of threads, pages that wait
would take the threads that answer them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter


class Closeable(Protocol):
    """A client with connections."""

    def close(self) -> None:
        """Close every connection."""


Answer = TypeVar("Answer")
Client = TypeVar("Client", bound=Closeable)


class ClientCalls(Generic[Client]):
    """Runs functions of a client, at most `at_once` at a time; its connections end with this object."""

    def __init__(self, open_client: Callable[[], Client], *, at_once: int) -> None:
        self._open_client = open_client
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._at_once = at_once
        self._limiter: CapacityLimiter | None = None

    async def run(self, function: Callable[[Client], Answer], *, leave: bool = False) -> Answer:
        """What the function returns of the client. Raises what it raises, ClientError above all.

        leave: whether a caller that is cancelled leaves the thread behind instead of waiting for it.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        return await anyio.to_thread.run_sync(
            partial(self._call, function), limiter=self._limiter, abandon_on_cancel=leave
        )

    def _call(self, function: Callable[[Client], Answer]) -> Answer:
        with self._lock:
            if self._client is None:
                self._client = self._open_client()
                # Nobody tells a dashboard that its server has ended.
                weakref.finalize(self, self._client.close)
        return function(self._client)
