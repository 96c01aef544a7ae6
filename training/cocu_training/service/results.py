"""The files of a run: which there are, what they are, and a part of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cocu_training.service.errors import MissingError, RangeError
from cocu_training.service.folder import RunFolder
from cocu_training.service.models import FileKind, RunFile

LOG = "log.txt"
MOST_FILES = 10_000
OTHER = "application/octet-stream"
_MEDIA_TYPES = {".png": "image/png", ".json": "application/json", ".txt": "text/plain; charset=utf-8"}
MEDIA_TYPES = (OTHER, *(kind.partition(";")[0] for kind in _MEDIA_TYPES.values()))
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def files_of(run: str, folder: RunFolder) -> list[RunFile]:
    """What can be fetched, by name."""
    found = []
    for name, path in _paths(folder):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append(
            RunFile(
                name=name,
                kind=_kind(name),
                bytes=status.st_size,
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                url=f"/v1/runs/{run}/files/{quote(name)}",
            )
        )
        if len(found) == MOST_FILES:
            break
    return sorted(found, key=lambda file: file.name)


def file_of(folder: RunFolder, name: str) -> Path:
    """The file of that name, which is one of those that `files_of` lists. Raises MissingError."""
    # Compared with what there is, never joined to a path: so no name leads out of the folder.
    path = next((path for each, path in _paths(folder) if each == name), None)
    if path is None:
        raise MissingError("the run has no such file; its results list those it has")
    return path


def part_of(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for, where it asks for one part; others may be ignored, and are.

    Raises RangeError where there is no such part.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", "").lower())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if (first and last and int(first) > int(last)) or not size:
        return None
    if (first and int(first) >= size) or (not first and int(last) == 0):
        raise RangeError(f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    if not first:
        return range(max(0, size - int(last)), size)
    return range(int(first), min(int(last) + 1, size) if last else size)


def media_type(name: str) -> str:
    """What a browser may make of a file; nothing of a run is a page."""
    return _MEDIA_TYPES.get(Path(name).suffix, OTHER)


def _paths(folder: RunFolder) -> Iterator[tuple[str, Path]]:
    if folder.log.is_file():
        yield LOG, folder.log
    for path in folder.output.rglob("*"):
        name = path.relative_to(folder.output).as_posix()
        is_whole = path.suffix != ".partial"
        if is_whole and name != LOG and path.is_file() and not path.is_symlink() and name.isprintable():
            yield name, path


def _kind(name: str) -> FileKind:
    path = Path(name)
    top = path.parts[0]
    if top == "checkpoints" and path.suffix == ".pt":
        return "checkpoint"
    if "previews" in path.parts[:-1] and path.suffix == ".png":
        return "preview"
    by_name: dict[str, FileKind] = {"evaluation.json": "evaluation", "records.jsonl": "records", LOG: "log"}
    return "tensorboard" if top == "tensorboard" else by_name.get(path.name, "other")
