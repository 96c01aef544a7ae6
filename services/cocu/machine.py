"""Errors of the machine in one line: no descriptors, disk space, memory, threads or permissions.

Code that reads data calls this first: if a file could not be opened, that does not mean that it is damaged.

    except OSError as error:
        machine.raise_machine_error(error, f"read object {path}")
        raise IntegrityError(…) from error
"""

from __future__ import annotations

import errno
import os
import re
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from cocu.errors import CocuError, ExhaustedError, MachineError, NoRoomError

_NO_ROOM = "no space left on the disk; free some"
_NO_MEMORY = "no memory is left; give this process more, or let it do less at a time"
_NO_RIGHTS = "the user of this process lacks the rights; give them"
_ROOM = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: "no space left in the quota; free some, or raise it",
    errno.EFBIG: "no space left: larger than a file may be here (ulimit -f)",
}
_RIGHTS = {
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EIO: "the disk fails (input/output error); look after it",
}
_MEANS = {
    errno.ENOMEM: _NO_MEMORY,
    errno.ENFILE: "too many open files on the whole machine; raise its limit (fs.file-max)",
}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How obstore, which is written in Rust, reports an errno."""
_VAGUE_SQLITE_CODES = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
)
"""Codes that SQLite uses for several causes; the errno is lost."""
_MEMORY_PROBE = 64 << 20
_NO_THREAD = ("can't start new thread", "can't allocate lock")


def find_machine_error(
    error: BaseException, doing: str = "go on", *, file: Path | str | None = None
) -> CocuError | None:
    """The error of the platform for an error of the machine; None for any other error.

    doing: completes "cannot …". file: the file in use, where the error does not name it.
    """
    if isinstance(error, CocuError):
        return error if isinstance(error, NoRoomError | ExhaustedError | MachineError) else None
    if isinstance(error, MemoryError):
        return ExhaustedError(f"cannot {doing}: {_NO_MEMORY}")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_THREAD):
        return ExhaustedError(
            f"cannot {doing}: no thread can be started; raise the limits of memory and tasks"
        )
    path = getattr(error, "filename", None) or file
    if isinstance(error, sqlite3.Error):
        return _error_of(_sqlite_errno(error, file), doing, path)
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _OS_ERROR.search(str(error))) is not None:
        number = int(match[1])
    return _error_of(number, doing, path)


def raise_machine_error(
    error: BaseException, doing: str = "go on", *, file: Path | str | None = None
) -> None:
    """Raise the result of `find_machine_error`, if any, for an error that damaged data may also have caused.

    Damaged data can request absurd amounts of memory. Then the machine still has some memory, and it is not
    the machine's error.
    """
    if isinstance(error, MemoryError) and _has_memory():
        return
    machine_error = find_machine_error(error, doing, file=file)
    if machine_error is not None:
        raise machine_error from (None if machine_error is error else error)


@contextmanager
def translate_errors(doing: str = "go on", *, file: Path | str | None = None) -> Iterator[None]:
    """A block whose machine errors become errors of the platform."""
    try:
        yield
    except CocuError:
        raise
    except Exception as error:
        raise_machine_error(error, doing, file=file)
        raise


@contextmanager
def temporary_file(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name, deleted when the block ends.

    Machine errors in the block, above all a full disk, become errors of the platform.
    """
    doing = "write a temporary file"
    with translate_errors(doing, file=folder):
        file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed below
        try:
            yield file
        finally:
            # Closing tries again to write the buffer; on a full disk its error would hide the first one.
            with suppress(OSError):
                file.close()


def describe(error: CocuError) -> str:
    """The message with the path, for the operator."""
    path = getattr(error, "location", None)
    return str(error) if path is None else f"{error} ({path})"


def has_room(folder: Path, size: int) -> bool:
    """Whether so many bytes fit on the disk of a folder; True where this is unknown."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return True
    return disk.f_bavail * disk.f_frsize >= size


def _has_memory() -> bool:
    try:
        bytearray(_MEMORY_PROBE)
    except MemoryError:
        return False
    return True


def _error_of(number: int | None, doing: str, path: object) -> CocuError | None:
    """The error for an errno."""
    location = None if path is None else os.fsdecode(str(path))
    if number in _ROOM:
        return NoRoomError(f"cannot {doing}: {_ROOM[number]}", location)
    if number in _RIGHTS:
        return MachineError(f"cannot {doing}: {_RIGHTS[number]}", location)
    if number == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return ExhaustedError(
            f"cannot {doing}: too many open files (this process may have {limit}); raise that (ulimit -n)"
        )
    return None if number not in _MEANS else ExhaustedError(f"cannot {doing}: {_MEANS[number]}")


def _sqlite_errno(error: sqlite3.Error, file: Path | str | None) -> int | None:
    """The errno behind an error of SQLite; SQLite does not report it, so the file is tested."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or "disk is full" in str(error):
        return errno.ENOSPC
    if code == sqlite3.SQLITE_NOMEM:
        return errno.ENOMEM
    if code not in _VAGUE_SQLITE_CODES:
        return None
    return _probe_errno(Path(file)) if file is not None else None


def _probe_errno(file: Path) -> int | None:
    """The errno that prevents this process from opening a file for writing, or from creating one beside it.

    file: the file, or its folder.
    """
    try:
        folder = file if file.is_dir() else file.parent
        os.close(os.open(file, os.O_RDWR) if file.is_file() else os.open(folder, os.O_RDONLY))
    except OSError as error:
        return error.errno
    if not os.access(folder, os.W_OK):
        return errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    return errno.ENOSPC if not has_room(folder, 64 << 10) else None
