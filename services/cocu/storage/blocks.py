"""A stream in blocks: while one is written on another thread, the next is received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

BLOCK_BYTES = 1 << 20
SMALL_BYTES = 64 << 10
"""Chunks below this are joined: kept one by one, a stream of single bytes would take many times its size."""

Write = Callable[[bytes | bytearray], None]


class BlockWriter:
    """Takes chunks and hands them to `write`, on another thread, in order, and one call at a time.

    At most two blocks of a little more than `size` bytes are held; chunks that are not small are not copied.
    Whoever used one calls `stop` before what `write` uses is closed.
    """

    def __init__(self, write: Write, *, size: int = BLOCK_BYTES) -> None:
        self._write, self._size = write, size
        self._block = _Block()
        self._writing: asyncio.Future[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Take a chunk; waits while there are two full blocks. Raises what `write` raised."""
        self._block.add(chunk)
        if self._block.size >= self._size:
            await self._begin()

    async def flush(self) -> None:
        """Return when everything added is written. Raises what `write` raises."""
        if self._block.size:
            await self._begin()
        await self._end()

    async def stop(self) -> None:
        """Return when no call is under way; what was not written yet is forgotten."""
        self._block = _Block()
        if self._writing is not None:
            await asyncio.wait([self._writing])
            # Asked for, or asyncio would report it as one that nobody looked at.
            self._writing.exception()

    async def _begin(self) -> None:
        await self._end()
        block, self._block = self._block, _Block()
        self._writing = asyncio.ensure_future(asyncio.to_thread(block.write, self._write))

    async def _end(self) -> None:
        if self._writing is not None:
            # Shielded: a request that is cancelled must not take it for ended.
            await asyncio.shield(self._writing)


class _Block:
    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes | bytearray] = []

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if len(chunk) >= SMALL_BYTES:
            self._pieces.append(chunk)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += chunk
        else:
            self._pieces.append(bytearray(chunk))

    def write(self, write: Write) -> None:
        for piece in self._pieces:
            write(piece)


async def write_blocks(chunks: AsyncIterable[bytes], write: Write, *, size: int = BLOCK_BYTES) -> None:
    """Call `write` with a whole stream, as BlockWriter does.

    Raises what `chunks` and `write` raise; no call is under way when it returns.
    """
    blocks = BlockWriter(write, size=size)
    try:
        async for chunk in chunks:
            await blocks.add(chunk)
        await blocks.flush()
    finally:
        await blocks.stop()
