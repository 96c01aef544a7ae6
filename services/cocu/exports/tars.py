"""Members of a tar without times or users, so that the same content gives the same bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

_BLOCK = 512
END = bytes(2 * _BLOCK)
"""What a tar ends with."""


def header(name: str, size: int) -> bytes:
    """The header of a regular file."""
    information = tarfile.TarInfo(name)
    information.size = size
    return information.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows content of this size."""
    return bytes(-size % _BLOCK)


def member(name: str, data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """A whole regular file, in pieces."""
    yield header(name, len(data))
    yield data
    if gap := padding(len(data)):
        yield gap
