"""Members of a tar, without times and users, so that equal content gives equal bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

_BLOCK = 512
END = bytes(2 * _BLOCK)
"""The end of a tar."""


def header(name: str, size: int) -> bytes:
    """The header of a regular file."""
    information = tarfile.TarInfo(name)
    information.size = size
    return information.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """The padding after content of this size."""
    return bytes(-size % _BLOCK)


def member(name: str, data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """A complete regular file, in pieces."""
    yield header(name, len(data))
    yield data
    if gap := padding(len(data)):
        yield gap
