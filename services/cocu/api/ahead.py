"""Long answers that are made in parts: the next part is made on a thread while one is being sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain

Chunk = bytes | memoryview

THREADS = 8
"""Parts that a process makes at a time, of all answers together."""


def begun(parts: Iterator[list[Chunk]]) -> Iterator[list[Chunk]]:
    """The same parts, the first one made now: what fails with it still becomes a problem, as nothing has been
    sent yet."""
    first = next(parts, [])
    return chain((first,), parts)


async def sent_ahead(parts: Iterator[list[Chunk]]) -> AsyncIterator[Chunk]:
    """The chunks of all parts. Two parts are held at a time: one that is being sent, and the next."""
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(_threads(), next, parts, None)
    try:
        while (made := await coming) is not None:
            chunks = deque(made)
            del made
            coming = loop.run_in_executor(_threads(), next, parts, None)
            while chunks:
                # Given away, so that nothing holds what has been sent.
                yield chunks.popleft()
    finally:
        # Nobody waits for what is being made for a reader that left.
        coming.cancel()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="parts-ahead")
