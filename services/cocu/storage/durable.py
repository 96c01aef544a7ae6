"""Files that survive a power cut, and temporary files that are deleted when their process dies."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_ATTEMPTS = 1000
_EARLY_BYTES = 8 << 20
_LOCK = ".lock"
_QUIET_SECONDS = 5.0
"""A temporary file younger than this is not deleted: one of an earlier version has no lock."""
_ABANDONED_AFTER_SECONDS = 24 * 3600.0
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of Linux: start writing, do not wait."""


def _load_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except AttributeError:  # not Linux
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function


_sync_file_range = _load_sync_file_range()


class EarlyWriting:
    """Makes the system start writing to disk early, so that fsync at the end is fast.

    It does not replace fsync: only fsync guarantees that the bytes are on disk and reports errors. It does
    nothing on systems other than Linux.
    """

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self._descriptor, self._begun, self._written = file.fileno(), position, position

    def wrote(self, size: int) -> None:
        """Report that so many more bytes were written to the file."""
        self._written += size
        waiting = self._written - self._begun
        if waiting >= _EARLY_BYTES and _sync_file_range is not None:
            _sync_file_range(self._descriptor, self._begun, waiting, _WRITE)
            self._begun = self._written


def rename(written: Path, target: Path, *, root: Path) -> None:
    """Rename a flushed file into place, creating folders below root, and put every new name on disk.

    Other processes may delete empty folders at the same time.
    """
    changed = {target.parent}
    for attempt in range(_ATTEMPTS):
        try:
            changed |= _make_folders(target.parent, root)
            written.replace(target)
            break
        # Another process deleted an empty folder in between (mkdir raises either), or `written` is gone.
        except (FileNotFoundError, FileExistsError):
            if attempt == _ATTEMPTS - 1 or not written.exists():
                raise
    # Only after the rename: fsync is slow, and until a file is in them other processes delete the folders.
    for folder in changed:
        _sync_folder(folder)


@contextmanager
def closed(file: BinaryIO) -> Iterator[None]:
    """Close a file at the end of a block; where the block raises, its error is kept, not that of closing."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    file.close()


def forget(temporary: Path) -> None:
    """Delete a temporary file if it exists. Where that fails, garbage collection deletes it after a day."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder and the folders in it, except those that are not empty."""
    for current, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(current)
        except OSError:  # not empty: another process writes there
            continue


@contextmanager
def new_part(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file (*.part), open for writing and reading, which is deleted unless it is renamed.

    It is locked meanwhile. The system releases the lock of a process that dies, so the lock shows whether
    the file is abandoned.
    """
    while True:
        path = folder / f"{uuid.uuid4().hex}.part"
        # Only for this user, whatever the umask.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")
        if _try_lock(file.fileno()) is not False and path.exists():
            break
        # Between creating and locking it, another process took it for abandoned and deleted it.
        file.close()
    try:
        yield path, file
    finally:
        # After an error, closing tries to write the rest again; its own error would hide the first.
        with suppress(OSError):
            file.close()
        # Where that fails, `delete_abandoned` deletes it later.
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def scratch_folder(parent: Path | None, prefix: str) -> Iterator[Path]:
    """A temporary folder (*.part), locked in the same way; in the system's folder without a parent."""
    with (
        tempfile.TemporaryDirectory(prefix=prefix, suffix=".part", dir=parent) as name,
        (Path(name) / _LOCK).open("wb") as lock,
    ):
        _try_lock(lock.fileno())
        yield Path(name)


def delete_abandoned(folder: Path) -> int:
    """Delete temporary files and folders (*.part) of processes that died; return how many.

    On a file system without locks, those that were not written to for a day.
    """
    deleted = 0
    for part in folder.glob("*.part"):
        with suppress(FileNotFoundError):  # another process was faster, or has just completed it
            deleted += _delete_abandoned(part)
    return deleted


def _delete_abandoned(part: Path) -> bool:
    age = time.time() - part.stat().st_mtime
    if age < _QUIET_SECONDS:
        return False
    lock = part / _LOCK if part.is_dir() else part
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        locked = _try_lock(descriptor)
        if locked is False or (locked is None and age < _ABANDONED_AFTER_SECONDS):
            return False
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink()
    finally:
        os.close(descriptor)
    return True


def _try_lock(descriptor: int) -> bool | None:
    """Try to lock an open file; return whether it worked, None on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _make_folders(folder: Path, root: Path) -> set[Path]:
    """Make a folder and its parents below root; return the folders in which a new name must be synced."""
    if folder == root or folder.is_dir():
        return set()
    changed = _make_folders(folder.parent, root)
    folder.mkdir(exist_ok=True, mode=0o700)
    return changed | {folder.parent}


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # deleted meanwhile, with what was in it
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
