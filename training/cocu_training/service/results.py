"""The files of a run: list them, find one, and the parts that a Range header asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cocu.schemas.training import RunFile, RunFileKind
from cocu_training.service.errors import MissingError, RangeError
from cocu_training.service.run_dir import RunFolder

LOG = "log.txt"
MAX_FILES = 10_000
DEFAULT_MEDIA_TYPE = "application/octet-stream"
_MEDIA_TYPES = {".png": "image/png", ".json": "application/json", ".txt": "text/plain; charset=utf-8"}
MEDIA_TYPES = (DEFAULT_MEDIA_TYPE, *(kind.partition(";")[0] for kind in _MEDIA_TYPES.values()))
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def files_of(run: str, folder: RunFolder) -> list[RunFile]:
    """The files that can be fetched, by name."""
    files = []
    for name, path in _paths(folder):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        files.append(
            RunFile(
                name=name,
                kind=_kind(name),
                bytes=status.st_size,
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                url=f"/v1/runs/{run}/files/{quote(name)}",
            )
        )
        if len(files) == MAX_FILES:
            break
    return sorted(files, key=lambda file: file.name)


def file_of(folder: RunFolder, name: str) -> Path:
    """Find a file that `files_of` lists by its name. Raises MissingError."""
    # The name is compared with existing names, never joined to a path: it cannot lead out of the folder.
    path = next((path for other, path in _paths(folder) if other == name), None)
    if path is None:
        raise MissingError("the run has no such file; its results list those it has")
    return path


def part_of(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for; None if it names several parts, which HTTP allows to ignore.

    Raises RangeError where the file has no such part.
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
    """The media type of a file; never one that a browser shows as a page."""
    return _MEDIA_TYPES.get(Path(name).suffix, DEFAULT_MEDIA_TYPE)


def _paths(folder: RunFolder) -> Iterator[tuple[str, Path]]:
    if folder.log.is_file():
        yield LOG, folder.log
    for path in folder.output.rglob("*"):
        name = path.relative_to(folder.output).as_posix()
        is_complete = path.suffix != ".partial"
        if is_complete and name != LOG and path.is_file() and not path.is_symlink() and name.isprintable():
            yield name, path


def _kind(name: str) -> RunFileKind:
    path = Path(name)
    top = path.parts[0]
    if top == "checkpoints" and path.suffix == ".pt":
        return "checkpoint"
    if "previews" in path.parts[:-1] and path.suffix == ".png":
        return "preview"
    by_name: dict[str, RunFileKind] = {
        "evaluation.json": "evaluation",
        "records.jsonl": "records",
        LOG: "log",
    }
    return "tensorboard" if top == "tensorboard" else by_name.get(path.name, "other")
