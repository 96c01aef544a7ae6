"""Partial uploads: files that arrive in pieces until they are complete and become objects.

A partial upload has one writer at a time; a second one is refused. The lock is one of the operating system,
so a process that dies releases it. The catalog stores how many bytes count: a writer says at which offset it
goes on, and bytes after that offset are cut off.

For file:// the files are beside the objects, shared by all processes that share these, and completing one is
a rename. For other stores they are in the scratch folder of this machine, so a resumed upload must reach the
same machine. (An alternative is a multipart upload whose parts are named by their offsets.)

The bytes are hashed while they are written. The hash is kept in this process, only for offsets that the
catalog has stored: bytes before such an offset never change again, so the hash stays right whatever other
processes do. If the last bytes came through another process, or before a restart, the complete file is read
once more.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from cocu import machine
from cocu.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from cocu.storage.durable import EarlyWriting
from cocu.storage.objects import ObjectStore, StoredObject

# The name in data folders of earlier versions.
_FOLDER = "growing"
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_REMEMBERED = 4096
"""Hashes that are kept, about 500 bytes each."""


class BusyError(ConflictError):
    """Another writer has the file."""


class PartialUpload:
    """A partial upload that this writer has locked, positioned where it goes on."""

    def __init__(self, file: BinaryIO, path: Path, hashes: _Hashes) -> None:
        self._file = file
        self._path = path
        self._hashes = hashes
        self._hash: Any = None
        self._early = EarlyWriting(file)
        self.position = 0

    def truncate_to(self, offset: int) -> None:
        """Cut off the bytes after this offset and go on there. Raises IntegrityError for a shorter file."""
        with _translate_errors(self._path):
            if os.fstat(self._file.fileno()).st_size < offset:
                raise IntegrityError(
                    f"partial upload {self._path.name} is shorter than the {offset} bytes that are stored "
                    "in the catalog; end it and send the file again"
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
        with _translate_errors(self._path):
            self._file.write(data)
        self.position += len(data)
        self._early.wrote(len(data))

    def sync(self) -> int:
        """Flush everything to disk; return the number of bytes that are there."""
        with _translate_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self.position

    def checkpoint(self) -> None:
        """Keep the hash. The catalog has stored the position, so these bytes are never written again."""
        if self._hash is not None:
            self._hashes.remember(self._path.name, self.position, self._hash)


class _Hashes:
    """SHA-256 of the first bytes of the partial uploads used last; for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def at(self, token: str, offset: int) -> Any:
        """The hash of the bytes before this offset, to be updated further; None where it is not known."""
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

    def pop(self, token: str) -> tuple[int, str] | None:
        """Return the number of bytes and their digest in hex, and forget them."""
        with self._lock:
            known = self._known.pop(token, None)
        return None if known is None else (known[0], known[1].hexdigest())


class PartialUploads:
    """The partial uploads beside the objects of a store; tokens name them."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._folder = objects.scratch / _FOLDER
        self._hashes = _Hashes()

    def create(self, token: str) -> None:
        """Create an empty one."""
        path = self._path(token)
        with _translate_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)

    @contextmanager
    def open(self, token: str) -> Iterator[PartialUpload]:
        """Open one and lock it for a block.

        Raises BusyError while another writer has it, NotFoundError where it does not exist.
        """
        path = self._path(token)
        with _translate_errors(path):
            file = path.open("r+b")
        try:
            _lock(file, path)
            yield PartialUpload(file, path, self._hashes)
        finally:
            # What counts is on disk already. Closing writes the rest; an error there would hide the first.
            with suppress(OSError):
                file.close()

    def finish(self, token: str, path: str) -> StoredObject:
        """Make it the object at `path`; only its writer may. Raises NotFoundError where it is one already."""
        file, hashed = self._path(token), self._hashes.pop(token)
        known = None if hashed is None else StoredObject(path, *hashed)
        return self._objects.adopt(path, file, known=known)

    def find_stale(self, *, after_seconds: float) -> list[str]:
        """The tokens of those that were not written to for so many seconds."""
        oldest, tokens = time.time() - after_seconds, []
        for file in self._folder.glob("*"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < oldest and _TOKEN.fullmatch(file.name):
                    tokens.append(file.name)
        return tokens

    def exists(self, token: str) -> bool:
        """Whether it exists and is not an object yet."""
        return self._path(token).is_file()

    def discard(self, token: str) -> None:
        """Delete it if it exists."""
        path = self._path(token)
        self._hashes.pop(token)
        with _translate_errors(path):
            path.unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        if not _TOKEN.fullmatch(token):
            raise NotFoundError("no partial upload has such a name")
        return self._folder / token


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError("another request is sending this upload now; try again once it has ended") from error
    # Between our open and our lock, another writer may have completed the file. It was renamed and is an
    # object now, which must not be changed; so the path must still name the file that is locked.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return
    raise NotFoundError(f"partial upload {path.name} is complete or deleted")


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"no partial upload {path.name}") from error
    except OSError as error:
        machine.raise_machine_error(error, f"write the partial upload {path.name}")
        raise UnavailableError(f"partial upload {path.name} cannot be written: {error.strerror}") from error
