"""Long answers in parts: the next part is made on a thread while the current one is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import TypeVar

Chunk = bytes | memoryview
Result = TypeVar("Result")

THREADS = 8
"""The most parts that a process makes at once, for all answers together."""


def primed(parts: Iterator[list[Chunk]]) -> Iterator[list[Chunk]]:
    """Return the same parts, the first made now: if that fails, the status can still say so."""
    first = next(parts, [])
    return chain((first,), parts)


async def prefetched(parts: Iterator[list[Chunk]]) -> AsyncIterator[Chunk]:
    """Yield the chunks of all parts. Two parts are in memory at a time: the current one and the next."""
    loop = asyncio.get_running_loop()
    next_part = loop.run_in_executor(_threads(), next, parts, None)
    try:
        while (part := await next_part) is not None:
            chunks = deque(part)
            del part
            next_part = loop.run_in_executor(_threads(), next, parts, None)
            while chunks:
                # Without a reference here, a chunk can be freed as soon as it is sent.
                yield chunks.popleft()
    finally:
        # If the client is gone, nobody waits for the next part.
        next_part.cancel()


async def run_on_thread(make: Callable[[], Result]) -> Result:
    """Return what `make` returns, run on one of these threads: many new streams block no other request."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), make)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="parts-ahead")
