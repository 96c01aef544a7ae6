"""Streams in blocks, written while the rest arrives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.storage.blocks import write_blocks


async def stream(chunks: Iterable[bytes], *, fails: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if fails:
        raise ConnectionError("gone")


@given(chunks=st.lists(st.binary(max_size=20), max_size=20), size=st.integers(1, 9))
def test_write_blocks__keeps_every_byte_in_order(chunks: list[bytes], size: int) -> None:
    written: list[bytes] = []
    asyncio.run(write_blocks(stream(chunks), lambda block: written.append(bytes(block)), size=size))
    assert b"".join(written) == b"".join(chunks)
    assert all(len(block) == size for block in written[:-1])


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

    def write(block: memoryview) -> None:
        under_way.append(block)
        threading.Event().wait(0.05)
        under_way.pop()

    with pytest.raises(ConnectionError):
        asyncio.run(write_blocks(stream([b"12345678"], fails=True), write, size=8))
    assert under_way == []


def test_write_blocks__raises_what_writing_raises() -> None:
    def write(block: memoryview) -> None:
        raise OSError("full")

    for chunks in ([b"12345678"], [b"1234567812345678"], [b"1"]):
        with pytest.raises(OSError, match="full"):
            asyncio.run(write_blocks(stream(chunks), write, size=8))
