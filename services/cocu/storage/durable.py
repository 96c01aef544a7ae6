"""Renames that are on disk when they return, the folders around them, and writing that begins early."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_ATTEMPTS = 1000
_EARLY_BYTES = 8 << 20
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of Linux: begin, and wait for nothing."""


def _found_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        found = ctypes.CDLL(None).sync_file_range
    except AttributeError:  # not Linux
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    found.restype = ctypes.c_int
    return found


_sync_file_range = _found_sync_file_range()


class EarlyWriting:
    """Has the disk begin with what was written, so that fsync at the end finds little left to do.

    It takes the place of nothing: only fsync says that the bytes are safe, and tells of errors. Where the
    system cannot do it nothing happens.
    """

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self._descriptor, self._begun, self._written = file.fileno(), position, position

    def wrote(self, size: int) -> None:
        """So many bytes more were written."""
        self._written += size
        waiting = self._written - self._begun
        if waiting >= _EARLY_BYTES and _sync_file_range is not None:
            _sync_file_range(self._descriptor, self._begun, waiting, _WRITE)
            self._begun = self._written


def rename(written: Path, target: Path, *, root: Path) -> None:
    """Rename a flushed file into place, creating folders below root, and put every new name on disk.

    Other processes may delete emptied folders at the same time.
    """
    changed = {target.parent}
    for attempt in range(_ATTEMPTS):
        try:
            changed |= _make_folders(target.parent, root)
            written.replace(target)
            break
        # A folder was emptied and deleted in between (mkdir then says either), or `written` is gone.
        except (FileNotFoundError, FileExistsError):
            if attempt == _ATTEMPTS - 1 or not written.exists():
                raise
    # Only now: synchronising takes so long that another process could go on deleting the folders in between.
    for folder in changed:
        _sync_folder(folder)


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder and those below it as far as they are empty."""
    for current, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(current)
        except OSError:  # not empty: somebody is writing there
            continue


def delete_abandoned(folder: Path, *, after_seconds: float) -> None:
    """Delete temporary files (*.part) that nobody has written to for so long."""
    oldest = time.time() - after_seconds
    for part in folder.glob("*.part"):
        try:
            if part.stat().st_mtime < oldest:
                part.unlink()
        except FileNotFoundError:  # another process was faster
            continue


def _make_folders(folder: Path, root: Path) -> set[Path]:
    """Make a folder and those above it up to root; the folders that got a new name."""
    if folder == root or folder.is_dir():
        return set()
    changed = _make_folders(folder.parent, root)
    folder.mkdir(exist_ok=True)
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
