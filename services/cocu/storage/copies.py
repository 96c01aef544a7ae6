"""Local copies of objects that lie elsewhere: of one version each, the least recently used go first.

Threads and processes of one machine share the folder. A copy is complete and of the right size when it has
its name; it is fetched once, however many ask for it. What was used within the last minute stays, so that
whoever was given a path can open it; an open or mapped file outlives its name anyway.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cocu.storage import durable

KEPT_SECONDS = 60.0
"""How long a copy stays at least after it was asked for."""
DEFAULT_BYTES = 32 << 30
_ABANDONED_AFTER_SECONDS = 24 * 3600
_LOCKS = 64
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KEEP_SHARE = 0.9
"""Of the limit, when it is passed: else every new copy would look through the folder for one to delete."""


class LocalCopies:
    """Copies in a folder, of `max_bytes` together, more only of what is in use at the moment."""

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self._folder = folder
        self._locks = folder / ".locks"
        self._max_bytes = max_bytes
        self._locks.mkdir(parents=True, exist_ok=True)
        durable.delete_abandoned(folder, after_seconds=_ABANDONED_AFTER_SECONDS)

    def path(self, name: str, *, size: int, fetch: Callable[[], Iterable[bytes]]) -> Path:
        """The copy of this name and size, fetched unless it is there. Raises OSError on a full disk."""
        copy = self._folder / name
        if self._use(copy, size):
            return copy
        with self._locked(f"fetch-{zlib.crc32(name.encode()) % _LOCKS}", fcntl.LOCK_EX):
            if self._use(copy, size):  # by another, while this one waited
                return copy
            try:
                self._fetch(copy, size, fetch)
            except OSError as error:
                if error.errno not in _FULL or not self._evict(0):
                    raise
                self._fetch(copy, size, fetch)
        self._evict(self._max_bytes)
        return copy

    def _use(self, copy: Path, size: int) -> bool:
        """Whether the copy is there; if so, nobody deletes it for a while."""
        with self._locked("evict", fcntl.LOCK_SH):
            try:
                if copy.stat().st_size != size:  # cut off by a power failure
                    return False
                os.utime(copy)
            except FileNotFoundError:
                return False
        return True

    def _fetch(self, copy: Path, size: int, fetch: Callable[[], Iterable[bytes]]) -> None:
        part = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                file.writelines(fetch())
                if file.tell() != size:
                    raise OSError(errno.EIO, f"{file.tell()} bytes came of {size}")
                file.flush()
                os.fsync(file.fileno())
            part.replace(copy)
        finally:
            part.unlink(missing_ok=True)

    def _evict(self, most: int) -> bool:
        """Deletes the copies used longest ago until the rest have `most` bytes; whether any was deleted."""
        found = sorted(self._entries())
        total = sum(size for _, size, _ in found)
        if total <= most:
            return False
        deleted = False
        for _, size, copy in found:
            if total <= most * _KEEP_SHARE:
                break
            if self._delete(copy):
                total -= size
                deleted = True
        return deleted

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its size and where it is."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file() and not entry.name.endswith(".part"):
                        status = entry.stat()
                        yield status.st_mtime, status.st_size, Path(entry.path)

    def _delete(self, copy: Path) -> bool:
        with self._locked("evict", fcntl.LOCK_EX), suppress(FileNotFoundError):
            if time.time() - copy.stat().st_mtime >= KEPT_SECONDS:
                copy.unlink()
                return True
        return False

    @contextmanager
    def _locked(self, name: str, kind: int) -> Iterator[None]:
        # A descriptor of its own for each: threads of one process exclude each other as processes do.
        descriptor = os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)
