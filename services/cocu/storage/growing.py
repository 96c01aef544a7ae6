"""Growing files: what arrives in pieces, until it is complete and becomes an object.

A growing file has one writer at a time, whoever comes second is refused; the operating system keeps the lock
and takes it from a process that dies. How many of its bytes count is the catalog's to say: whoever goes on
writing says at which offset, and what lies beyond that is cut off.

For file:// the files lie beside the objects, shared by everyone who shares those, and completing one is a
rename. Stores that are not files keep them in their scratch folder, so that a resumed upload must reach the
same machine; parts of a multipart upload under the names that offsets give would take their place.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cocu.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from cocu.storage.objects import ObjectStore, StoredObject

_FOLDER = "growing"
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")


class BusyError(ConflictError):
    """Somebody else is writing to it now."""


class GrowingFile:
    """A growing file while this writer has it, positioned where it goes on."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
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

    def write(self, data: bytes) -> None:
        """Append."""
        with _translated(self._path):
            self._file.write(data)
        self.position += len(data)

    def sync(self) -> int:
        """Put all of it on disk; the number of bytes that are there."""
        with _translated(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self.position


class GrowingFiles:
    """The growing files beside the objects of a store; tokens name them."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._folder = objects.scratch / _FOLDER

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
            yield GrowingFile(file, path)

    def finish(self, token: str, path: str) -> StoredObject:
        """Make it the object at `path`, by its only writer. Raises NotFoundError where it is one already."""
        return self._objects.adopt(path, self._path(token))

    def exists(self, token: str) -> bool:
        """Whether it is there, and no object yet."""
        return self._path(token).is_file()

    def discard(self, token: str) -> None:
        """Delete it if it is there."""
        path = self._path(token)
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
