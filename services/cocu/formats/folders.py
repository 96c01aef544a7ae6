"""Folders, file by file, sorted by name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cocu import machine
from cocu.formats.archive import ArchiveEndsError, Member, Members, UnreadableMemberError, check_name
from cocu.formats.limits import Limits
from cocu.formats.member_names import RawNames
from cocu.formats.notes import Notes
from cocu.formats.rejections import Reason, Rejection

_PIECE = 1 << 20


def folder_members(folder: Path, limits: Limits, notes: Notes | None = None) -> Members:
    """Yield the regular files below a folder in the order of their names, and a rejection for anything else.

    Links are read where they lead to a file inside the folder; links to folders are not followed. Raises
    ArchiveEndsError beyond the limit of entries. notes: told what names that are not UTF-8 were read as.
    """
    root = folder.resolve()
    names = RawNames(lambda: _raw_names(root), notes or Notes())
    for count, path in enumerate(_files(root)):
        if count == limits.max_entries:
            raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {limits.max_entries} files")
        if isinstance(path, OSError):
            closed = Path(path.filename).relative_to(root).as_posix()
            detail = f"the folder cannot be entered: {path.strerror}"
            yield Rejection(None, closed, Reason.UNREADABLE_MEMBER, detail)
            continue
        relative = names.text(os.fsencode(path.relative_to(root).as_posix()))
        name = check_name(relative, limits)
        if isinstance(name, Rejection):
            yield name
            continue
        size = _regular_size(path, root)
        if size is None:
            yield Rejection(
                None, relative, Reason.NOT_A_REGULAR_FILE, "a device, or a link to a folder or out of it"
            )
            continue
        yield _member(name, path, size)


def _raw_names(root: Path) -> Iterator[bytes]:
    for path in _files(root):
        if isinstance(path, Path):
            yield os.fsencode(path.relative_to(root).as_posix())


def _files(root: Path) -> Iterator[Path | OSError]:
    """The files below a folder, and the errors of folders that cannot be entered."""
    closed: list[OSError] = []
    for current, folders, files in os.walk(root, onerror=closed.append):
        yield from closed
        closed.clear()
        folders.sort()
        linked = [name for name in folders if os.path.islink(os.path.join(current, name))]
        for name in sorted([*files, *linked]):
            yield Path(current, name)
    yield from closed


def _regular_size(path: Path, root: Path) -> int | None:
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
            machine.raise_machine_error(error, f"look at {path.name}")
        return None
    inside = real.is_relative_to(root)
    return status.st_size if inside and stat.S_ISREG(status.st_mode) else None


def _member(name: str, path: Path, size: int) -> Member:
    def pieces() -> Iterator[bytes]:
        missing = size
        try:
            with path.open("rb") as file:
                while piece := file.read(min(missing, _PIECE)):
                    missing -= len(piece)
                    yield piece
        except OSError as error:
            # A file that may not be read is a rejection. Any other error is the machine's, not the file's.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
                machine.raise_machine_error(error, f"read {name}")
            raise UnreadableMemberError(error.strerror or str(error)) from error
        if missing:
            raise UnreadableMemberError("the file became shorter while it was read")

    return Member(name, size, pieces)
