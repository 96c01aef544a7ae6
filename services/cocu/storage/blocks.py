"""Write a stream in blocks: while one is written on another thread, the next is received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from contextvars import copy_context
from typing import TypeVar

BLOCK_BYTES = 1 << 20
SMALL_BYTES = 64 << 10
"""Smaller chunks are joined: as separate objects, single bytes would take many times their size."""

Write = Callable[[bytes | bytearray], None]
Result = TypeVar("Result")


async def run_to_end(work: Callable[[], Result]) -> Result:
    """Call `work` on another thread and return its result, only after it has ended, also when cancelled.

    Each cancellation waits until `work` has ended; then CancelledError is raised. So `work` never goes on
    after its caller has closed what it uses.
    """
    running = asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # Not `await running`: that would cancel it, and lose its end.
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Without this call asyncio logs the exception as one that was never retrieved.
        running.exception()
        raise cancelled
    return running.result()


class BlockWriter:
    """Passes chunks to `write` on another thread, in order, one call at a time.

    At most two blocks of a little more than `size` bytes are in memory; chunks that are not small are not
    copied. Call `stop` before you close what `write` uses.
    """

    def __init__(self, write: Write, *, size: int = BLOCK_BYTES) -> None:
        self._write, self._size = write, size
        self._block = _Block()
        self._writing: asyncio.Future[None] | None = None

    async def add(self, chunk: bytes) -> None:
        """Add a chunk; wait while there are two full blocks. Raises what `write` raised."""
        self._block.add(chunk)
        if self._block.size >= self._size:
            await self._start()

    async def flush(self) -> None:
        """Return when everything added is written. Raises what `write` raises."""
        if self._block.size:
            await self._start()
        await self._wait()

    async def stop(self) -> None:
        """Return when no call of `write` runs any more; what was not written yet is dropped."""
        self._block = _Block()
        if self._writing is not None:
            await asyncio.wait([self._writing])
            # Without this call asyncio logs the exception as one that was never retrieved.
            self._writing.exception()

    async def _start(self) -> None:
        await self._wait()
        block, self._block = self._block, _Block()
        self._writing = asyncio.ensure_future(asyncio.to_thread(block.write, self._write))

    async def _wait(self) -> None:
        if self._writing is not None:
            # Shielded: a cancelled request would cancel this future, and `stop` could not wait for its end.
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

    Raises what `chunks` and `write` raise. When it returns, no call of `write` runs any more.
    """
    blocks = BlockWriter(write, size=size)
    try:
        async for chunk in chunks:
            await blocks.add(chunk)
        await blocks.flush()
    finally:
        await blocks.stop()
