"""Folders, file by file, sorted by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError, Member, Members, UnreadableMemberError, check_name
from cocu.datasets.rejections import Reason, Rejection

_PIECE = 1 << 20


def folder_members(folder: Path, limits: Limits) -> Members:
    """Yield the regular files below a folder in the order of their names, and a rejection for anything else.

    Links are read where they lead to a file inside the folder; links to folders are not followed. Raises
    ArchiveEndsError beyond the limit of entries.
    """
    root = folder.resolve()
    for count, path in enumerate(_files(root)):
        if count == limits.max_entries:
            raise ArchiveEndsError(Reason.TOO_MANY_ENTRIES, f"more than {limits.max_entries} files")
        relative = path.relative_to(root).as_posix()
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


def _files(root: Path) -> Iterator[Path]:
    for current, folders, files in os.walk(root):
        folders.sort()
        linked = [name for name in folders if os.path.islink(os.path.join(current, name))]
        for name in sorted([*files, *linked]):
            yield Path(current, name)


def _regular_size(path: Path, root: Path) -> int | None:
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except OSError:
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
            raise UnreadableMemberError(str(error)) from error
        if missing:
            raise UnreadableMemberError("the file became shorter while it was read")

    return Member(name, size, pieces)
