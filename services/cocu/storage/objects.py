"""Objects: files under names, written whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class StoredObject:
    """What was written: path, size in bytes, SHA-256 of the bytes in hex."""

    path: str
    size: int
    sha256: str


class ObjectStore:
    """Objects of one store: file:///folder, memory:// (for tests), s3://bucket/prefix."""

    @classmethod
    def open(cls, url: str, *, cache: Path | None = None) -> ObjectStore:
        """Open by URL; `cache` is the folder of local copies for stores that are not files."""
        raise NotImplementedError

    def put(self, path: str, data: bytes) -> StoredObject:
        """Write bytes atomically, replacing what was there."""
        raise NotImplementedError

    def put_chunks(self, path: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        """Write a stream atomically; raises LimitExceededError (and leaves nothing) beyond max_bytes."""
        raise NotImplementedError

    async def put_stream(
        self,
        path: str,
        chunks: AsyncIterable[bytes],
        *,
        max_bytes: int | None = None,
        sha256: str | None = None,
    ) -> StoredObject:
        """As `put_chunks`; raises InvalidInputError (and leaves nothing) when `sha256` (hex) is not the stream's."""
        raise NotImplementedError

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """A new seekable file that becomes the object when the block ends without an exception."""
        raise NotImplementedError
        yield

    def get(self, path: str) -> bytes:
        """The whole object. Raises NotFoundError."""
        raise NotImplementedError

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises NotFoundError, IntegrityError when the object is shorter."""
        raise NotImplementedError

    def chunks(self, path: str, *, size: int = 1 << 20) -> Iterator[bytes]:
        """The object in pieces of about `size` bytes."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        """Whether the object is there."""
        raise NotImplementedError

    def size(self, path: str) -> int:
        """Bytes of the object. Raises NotFoundError."""
        raise NotImplementedError

    def list(self, prefix: str = "") -> list[str]:
        """Paths under a folder-like prefix, sorted."""
        raise NotImplementedError

    def delete(self, path: str) -> None:
        """Delete if it is there."""
        raise NotImplementedError

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything under a folder-like prefix; the number of objects deleted."""
        raise NotImplementedError

    def local_path(self, path: str) -> Path:
        """A local file with the object's bytes, for memory maps; for file:// the object itself. Read only."""
        raise NotImplementedError
