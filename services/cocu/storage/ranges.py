"""Parts of objects, read into memory that is there already."""

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
"""A gap that is read over rather than asked around."""

OBJECTS_AT_ONCE = 16
"""Objects that a process reads parts of at a time where each takes a round trip."""


@dataclass(frozen=True)
class RangeReads:
    """Parts of one object of `size` bytes: each view is filled from its offset on."""

    path: str
    size: int
    ranges: Sequence[tuple[int, memoryview]]


def at_once(read: Callable[[RangeReads], None], reads: Sequence[RangeReads], *, threads: bool) -> None:
    """Read all of them, on threads at the same time or here one after the other.

    Raises what the first that failed raised, once all have ended.
    """
    if not threads:
        for each in reads:
            read(each)
        return
    futures = [_threads().submit(read, each) for each in reads]
    failed = [error for future in futures if (error := future.exception()) is not None]
    if failed:
        raise failed[0]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(OBJECTS_AT_ONCE, thread_name_prefix="range-reads")


def read_file_into(file: Path, ranges: Sequence[tuple[int, memoryview]]) -> None:
    """Fill each view with the bytes of the file from its offset on. Raises IntegrityError behind the end."""
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
    """The same of an object that is no file, in as few requests as make sense, at the same time."""
    found = backend.get_ranges(
        path,
        starts=[offset for offset, _ in ranges],
        lengths=[view.nbytes for _, view in ranges],
        coalesce=COALESCED_BYTES,
    )
    for (_, view), data in zip(ranges, found, strict=True):
        if len(data) != view.nbytes:
            raise IntegrityError(f"object {path} became shorter while it was read")
        view[:] = memoryview(data)
