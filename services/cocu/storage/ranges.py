"""Reads parts of objects into existing memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from obstore.store import ObjectStore as Backend

from cocu.errors import IntegrityError

COALESCED_BYTES = 256 << 10
"""A gap up to this size is read too, instead of sending another request."""

OBJECTS_AT_ONCE = 16
"""Remote objects that a process reads at the same time."""


@dataclass(frozen=True)
class RangeReads:
    """Parts of one object of `size` bytes: each view is filled from its offset on."""

    path: str
    size: int
    ranges: Sequence[tuple[int, memoryview]]


def read_all(read: Callable[[RangeReads], None], reads: Sequence[RangeReads], *, threads: bool) -> None:
    """Read all of them, with threads at the same time, else one after the other.

    Raises the first error, after all reads have ended: they write into memory of the caller.
    """
    if not threads:
        for ranges in reads:
            read(ranges)
        return
    futures = [_threads().submit(read, ranges) for ranges in reads]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(OBJECTS_AT_ONCE, thread_name_prefix="range-reads")


def read_file_into(file: Path, ranges: Sequence[tuple[int, memoryview]]) -> None:
    """Fill each view with the bytes of the file from its offset on. Raises IntegrityError after its end."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for offset, view in ranges:
            filled = 0
            while filled < view.nbytes:
                count = os.preadv(descriptor, [view[filled:]], offset + filled)
                if not count:
                    raise IntegrityError(f"file {file.name} became shorter while it was read")
                filled += count
    finally:
        os.close(descriptor)


def read_object_into(backend: Backend, path: str, ranges: Sequence[tuple[int, memoryview]]) -> None:
    """As `read_file_into` for a remote object, in few requests, sent at the same time."""
    parts = backend.get_ranges(
        path,
        starts=[offset for offset, _ in ranges],
        lengths=[view.nbytes for _, view in ranges],
        coalesce=COALESCED_BYTES,
    )
    for (_, view), data in zip(ranges, parts, strict=True):
        if len(data) != view.nbytes:
            raise IntegrityError(f"object {path} became shorter while it was read")
        view[:] = memoryview(data)
