"""Local copies of remote objects, one per version; those used longest ago are deleted first.

Threads and processes of one machine share the folder. A copy gets its name when it is complete and has the
right size. It is fetched once, also when several ask at the same time. A copy that was used within the last
minute is not deleted, so that the caller has time to open the path; an open or mapped file stays readable
after its name is deleted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cocu.storage import durable

KEPT_SECONDS = 60.0
"""How long a copy is kept at least after it was last used."""
DEFAULT_BYTES = 32 << 30
_LOCKS = 64
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KEEP_SHARE = 0.9
"""Part of the limit that remains after deleting; otherwise every new copy would list the whole folder."""


class LocalCopies:
    """Copies in a folder, at most `max_bytes` together except for those in use."""

    def __init__(self, folder: Path, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self._folder = folder
        self._locks = folder / ".locks"
        self._max_bytes = max_bytes
        self._locks.mkdir(parents=True, exist_ok=True)
        self.delete_abandoned()

    def delete_abandoned(self) -> int:
        """Delete the unfinished copies of processes that died; return how many."""
        return durable.delete_abandoned(self._folder)

    def path(self, name: str, *, size: int, fetch: Callable[[], Iterable[bytes]]) -> Path:
        """The copy of this name and size; fetch it where it is missing. Raises OSError on a full disk."""
        copy = self._folder / name
        if self._use(copy, size):
            return copy
        with self._locked(f"fetch-{zlib.crc32(name.encode()) % _LOCKS}", fcntl.LOCK_EX):
            if self._use(copy, size):  # fetched by another, while this one waited
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
        """Return whether the copy exists, and mark it as used, so that it is not deleted soon."""
        with self._locked("evict", fcntl.LOCK_SH):
            try:
                if copy.stat().st_size != size:  # cut off by a power failure
                    return False
                os.utime(copy)
            except FileNotFoundError:
                return False
        return True

    def _fetch(self, copy: Path, size: int, fetch: Callable[[], Iterable[bytes]]) -> None:
        with durable.new_part(self._folder) as (part, file):
            file.writelines(fetch())
            if file.tell() != size:
                raise OSError(errno.EIO, f"{file.tell()} of {size} bytes were received")
            file.flush()
            os.fsync(file.fileno())
            part.replace(copy)

    def _evict(self, limit: int) -> bool:
        """Delete copies, oldest use first, down to `limit` bytes; return whether any was deleted."""
        copies = sorted(self._entries())
        total = sum(size for _, size, _ in copies)
        if total <= limit:
            return False
        deleted = False
        for _, size, copy in copies:
            if total <= limit * _KEEP_SHARE:
                break
            if self._delete(copy):
                total -= size
                deleted = True
        return deleted

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, size, path) of each copy."""
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
        # Each call opens the file again: flock belongs to the open file, so threads exclude each other too.
        descriptor = os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)
