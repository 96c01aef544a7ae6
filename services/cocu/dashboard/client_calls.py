"""Calls of a synchronous client from asynchronous pages, in threads of their own.

Embedded, the platform that is asked runs in this process: on the shared pool of threads, pages that wait
would take the threads that answer them.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import anyio
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
        self._places: CapacityLimiter | None = None

    async def run(self, function: Callable[[Client], Answer], *, within: float | None = None) -> Answer:
        """What the function returns of the client. Raises what it raises, ClientError above all.

        within: seconds; without an answer by then it raises TimeoutError. A thread that nobody waits for any
        more goes on, and counts among `at_once` until it ends.
        """
        if self._places is None:
            self._places = CapacityLimiter(self._at_once)
        place = object()
        with anyio.fail_after(within):
            await self._places.acquire_on_behalf_of(place)
            # Nothing is awaited in between, so the place is always given back.
            call = asyncio.ensure_future(self._call_at(self._places, place, function))
            # An error that nobody waits for any more is nothing to complain of.
            call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            await asyncio.wait({call})
            return call.result()

    async def _call_at(
        self, places: CapacityLimiter, place: object, function: Callable[[Client], Answer]
    ) -> Answer:
        try:
            # The places are the limit, and these threads are not of the shared pool.
            return await anyio.to_thread.run_sync(partial(self._call, function), limiter=CapacityLimiter(1))
        finally:
            places.release_on_behalf_of(place)

    def _call(self, function: Callable[[Client], Answer]) -> Answer:
        with self._lock:
            if self._client is None:
                self._client = self._open_client()
                # Nobody tells a dashboard that its server has ended.
                weakref.finalize(self, self._client.close)
        return function(self._client)
