"""Growing files: what arrives in pieces, until it is complete and becomes an object.

A growing file has one writer at a time, whoever comes second is refused; the operating system keeps the lock
and takes it from a process that dies. How many of its bytes count is the catalog's to say: whoever goes on
writing says at which offset, and what lies beyond that is cut off.

For file:// the files lie beside the objects, shared by everyone who shares those, and completing one is a
rename. Stores that are not files keep them in their scratch folder, so that a resumed upload must reach the
same machine; parts of a multipart upload under the names that offsets give would take their place.

What is written is hashed on the way. The hash is remembered, in this process, for offsets that the catalog
counts: bytes before such an offset never change again, so it stays true whatever other processes do. A file
whose last bytes came through another process, or after a restart, is read once more when it is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from cocu.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from cocu.storage.durable import EarlyWriting
from cocu.storage.objects import ObjectStore, StoredObject

_FOLDER = "growing"
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_REMEMBERED = 4096
"""Hashes that are kept, about 500 bytes each."""


class BusyError(ConflictError):
    """Somebody else is writing to it now."""


class GrowingFile:
    """A growing file while this writer has it, positioned where it goes on."""

    def __init__(self, file: BinaryIO, path: Path, hashes: _Hashes) -> None:
        self._file = file
        self._path = path
        self._hashes = hashes
        self._hash: Any = None
        self._early = EarlyWriting(file)
        self.position = 0

    def begin(self, offset: int) -> None:
        """Go on at this offset; what lies beyond it is cut off. Raises IntegrityError for a shorter file."""
        with _translated(self._path):
            if os.fstat(self._file.fileno()).st_size < offset:
                raise IntegrityError(
                    f"growing file {self._path.name} is shorter than the {offset} bytes noted"
                )
            self._file.truncate(offset)
            self._file.seek(offset)
        self.position = offset
        self._early = EarlyWriting(self._file, offset)
        self._hash = self._hashes.at(self._path.name, offset)

    def write(self, data: bytes | bytearray) -> None:
        """Append."""
        if self._hash is not None:
            self._hash.update(data)
        with _translated(self._path):
            self._file.write(data)
        self.position += len(data)
        self._early.wrote(len(data))

    def sync(self) -> int:
        """Put all of it on disk; the number of bytes that are there."""
        with _translated(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self.position

    def noted(self) -> None:
        """The catalog counts all that was written, so that nobody will write these bytes again."""
        if self._hash is not None:
            self._hashes.remember(self._path.name, self.position, self._hash)


class _Hashes:
    """SHA-256 of the first bytes of growing files, the latest used; for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def at(self, token: str, offset: int) -> Any:
        """A hash to go on with from this offset; None where that of the bytes before is not known."""
        if offset == 0:
            return hashlib.sha256()
        with self._lock:
            known = self._known.get(token)
        return known[1].copy() if known is not None and known[0] == offset else None

    def remember(self, token: str, position: int, known: Any) -> None:
        with self._lock:
            self._known[token] = position, known.copy()
            self._known.move_to_end(token)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def take(self, token: str) -> tuple[int, str] | None:
        """How many bytes, and their digest in hex; forgotten then."""
        with self._lock:
            known = self._known.pop(token, None)
        return None if known is None else (known[0], known[1].hexdigest())


class GrowingFiles:
    """The growing files beside the objects of a store; tokens name them."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._folder = objects.scratch / _FOLDER
        self._hashes = _Hashes()

    def create(self, token: str) -> None:
        """A new, empty one."""
        path = self._path(token)
        with _translated(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            path.touch()

    @contextmanager
    def writing(self, token: str) -> Iterator[GrowingFile]:
        """The growing file, for one writer.

        Raises BusyError while another has it, NotFoundError without it.
        """
        path = self._path(token)
        with _translated(path):
            file = path.open("r+b")
        with file:
            _lock(file, path)
            yield GrowingFile(file, path, self._hashes)

    def finish(self, token: str, path: str) -> StoredObject:
        """Make it the object at `path`, by its only writer. Raises NotFoundError where it is one already."""
        file, hashed = self._path(token), self._hashes.take(token)
        known = None if hashed is None else StoredObject(path, *hashed)
        return self._objects.adopt(path, file, known=known)

    def exists(self, token: str) -> bool:
        """Whether it is there, and no object yet."""
        return self._path(token).is_file()

    def discard(self, token: str) -> None:
        """Delete it if it is there."""
        path = self._path(token)
        self._hashes.take(token)
        with _translated(path):
            path.unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        if not _TOKEN.fullmatch(token):
            raise NotFoundError("no growing file has such a name")
        return self._folder / token


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError("another request is sending this upload now; try again once it has ended") from error
    # Between opening and locking it, its writer may have completed it: then it is an object.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return
    raise NotFoundError(f"growing file {path.name} is complete or deleted")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"no growing file {path.name}") from error
    except OSError as error:
        raise UnavailableError(f"the growing file {path.name} cannot be written: {error.strerror}") from error
