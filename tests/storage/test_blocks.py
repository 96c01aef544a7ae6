"""Streams in blocks, written while the rest arrives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.storage.blocks import SMALL_BYTES, BlockWriter, write_blocks


async def stream(chunks: Iterable[bytes], *, fails: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if fails:
        raise ConnectionError("gone")


def written_of(chunks: list[bytes], *, size: int) -> list[bytes | bytearray]:
    written: list[bytes | bytearray] = []
    asyncio.run(write_blocks(stream(chunks), written.append, size=size))
    return written


@given(
    lengths=st.lists(st.integers(0, 3) | st.integers(SMALL_BYTES - 1, SMALL_BYTES + 1), max_size=20),
    size=st.integers(1, 3 * SMALL_BYTES),
)
def test_write_blocks__keeps_every_byte_in_order(lengths: list[int], size: int) -> None:
    chunks = [bytes([number]) * length for number, length in enumerate(lengths)]
    assert b"".join(written_of(chunks, size=size)) == b"".join(chunks)


def test_write_blocks__joins_what_is_small_and_copies_nothing_else() -> None:
    large = bytes(SMALL_BYTES)
    written = written_of([b"a"] * 1000 + [large] + [b"b"] * 1000, size=10 * SMALL_BYTES)
    assert [len(piece) for piece in written] == [1000, SMALL_BYTES, 1000]
    assert written[1] is large


def test_write_blocks__holds_two_blocks_at_most() -> None:
    goes_on, taken = threading.Event(), 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(20):
            taken += 1
            if taken == 2:
                asyncio.get_running_loop().call_later(0.2, goes_on.set)
            yield b"12345678"

    most_taken = 0

    def write(_: bytes | bytearray) -> None:
        nonlocal most_taken
        if not goes_on.is_set():
            goes_on.wait(20)
            most_taken = taken

    asyncio.run(write_blocks(chunks(), write, size=8))
    assert most_taken == 2


def test_block_writer__flushes_what_came_before_the_stream_broke_off() -> None:
    written: list[bytes | bytearray] = []

    async def broken() -> None:
        blocks = BlockWriter(written.append, size=100)
        for _ in range(3):
            await blocks.add(b"1234")
        await blocks.flush()
        await blocks.add(b"forgotten")
        await blocks.stop()

    asyncio.run(broken())
    assert written == [b"123412341234"]


def test_write_blocks__receives_while_it_writes() -> None:
    received = threading.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0)
        received.set()
        yield b"other"

    assert (
        asyncio.run(write_blocks(chunks(), lambda _: received.wait(20) or pytest.fail("waits"), size=5))
        is None
    )


def test_write_blocks__has_no_call_under_way_when_the_stream_fails() -> None:
    under_way = []

    def write(block: bytes | bytearray) -> None:
        under_way.append(block)
        threading.Event().wait(0.05)
        under_way.pop()

    with pytest.raises(ConnectionError):
        asyncio.run(write_blocks(stream([b"12345678"], fails=True), write, size=8))
    assert under_way == []


def test_write_blocks__raises_what_writing_raises() -> None:
    def write(block: bytes | bytearray) -> None:
        raise OSError("full")

    for chunks in ([b"12345678"], [b"1234567812345678"], [b"1"]):
        with pytest.raises(OSError, match="full"):
            asyncio.run(write_blocks(stream(chunks), write, size=8))
