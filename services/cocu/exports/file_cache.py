"""Cached files of exports, for readers that request parts of them.

A file of an export is generated while it is sent, so its length is not known in advance. When a reader
requests the length or a part (a Parquet reader requests the end first), the whole file is written here once.
Equal identities mean equal bytes, so a cached file is never out of date.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from cocu.errors import UnavailableError
from cocu.exports.files import ExportedFile

MAX_BYTES = 8 << 30
"""Bytes of all cached files of a process; a single file may be larger."""
MAX_FILES = 16
"""Each file keeps a descriptor open."""
PIECE_BYTES = 1 << 20


class CachedFile:
    """All bytes of a file; they are freed with the last reference to this object."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        # The file has no name (see `_write`), so closing the descriptor frees it. A reader that still holds
        # this object can read to the end after the cache has dropped it.
        weakref.finalize(self, os.close, descriptor)

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to `end` (not included)."""
        while start < end and (piece := os.pread(self._descriptor, min(PIECE_BYTES, end - start), start)):
            yield piece
            start += len(piece)


class FileCache:
    """The files used last. Thread-safe: one thread writes a file, the others wait for it."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[str, str], CachedFile] = OrderedDict()
        self._write_locks: dict[tuple[str, str], threading.Lock] = {}

    def get(self, dataset: str, file: ExportedFile) -> CachedFile | None:
        """The file, None if it is not cached."""
        key = dataset, file.identity
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def get_or_write(self, dataset: str, file: ExportedFile) -> CachedFile:
        """The file, written if necessary. Raises errors of its pieces; UnavailableError on a full disk."""
        key = dataset, file.identity
        # A lock per file: writing can take minutes, and must not block readers of other files.
        with self._lock:
            write_lock = self._write_locks.setdefault(key, threading.Lock())
        with write_lock:
            cached = self.get(dataset, file)
            if cached is None:
                cached = self._write(file)
                with self._lock:
                    self._files[key] = cached
                    self._evict()
        # Threads that wait hold the same lock object and find the file in the cache. A thread that comes now
        # gets a new lock, and finds the file as well.
        with self._lock:
            self._write_locks.pop(key, None)
        return cached

    def forget(self, dataset: str) -> None:
        """Remove the files of a deleted dataset."""
        with self._lock:
            for key in [key for key in self._files if key[0] == dataset]:
                del self._files[key]

    def _evict(self) -> None:
        size = sum(cached.size for cached in self._files.values())
        while len(self._files) > 1 and (size > self._max_bytes or len(self._files) > self._max_files):
            _, dropped = self._files.popitem(last=False)
            size -= dropped.size

    def _write(self, file: ExportedFile) -> CachedFile:
        descriptor, path = tempfile.mkstemp(prefix="export-", dir=self._folder)
        try:
            # Without a name, the file cannot outlive the process, however it ends.
            os.unlink(path)
            with open(descriptor, "wb", closefd=False) as target:
                for piece in file.pieces():
                    target.write(piece)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UnavailableError(
                    f"no space left to store {file.name} for reads in parts; free some, or fetch it whole"
                ) from error
            raise
        return CachedFile(descriptor)
