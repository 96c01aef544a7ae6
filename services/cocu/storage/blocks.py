"""A stream in blocks: while one is written on another thread, the next is received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

BLOCK_BYTES = 1 << 20


async def write_blocks(
    chunks: AsyncIterable[bytes], write: Callable[[memoryview], None], *, size: int = BLOCK_BYTES
) -> None:
    """Call `write`, on another thread and one call at a time, with blocks of `size` bytes and a last one.

    The block is only valid during the call: two of them are used in turn, so that a stream of any length
    takes no fresh memory. Raises what `chunks` and `write` raise; no call is under way when it returns.
    """
    filling, spare, filled = bytearray(size), bytearray(size), 0
    writing: asyncio.Future[None] | None = None
    try:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                taken = min(len(rest), size - filled)
                filling[filled : filled + taken] = rest[:taken]
                filled, rest = filled + taken, rest[taken:]
                if filled == size:
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(asyncio.to_thread(write, memoryview(filling)))
                    filling, spare, filled = spare, filling, 0
    finally:
        if writing is not None:
            await asyncio.wait([writing])
    if writing is not None:
        writing.result()
    if filled:
        await asyncio.to_thread(write, memoryview(filling)[:filled])
