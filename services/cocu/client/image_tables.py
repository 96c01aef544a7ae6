"""A table of images on this machine: a CSV or TSV whose rows have the path of an image and a caption.

open_clip's `filepath<TAB>title` is one; so is any table with a column of paths (`cocu.text.columns.PATH`, or
the one that the options name) and a column of captions. Paths are absolute or relative to the table's folder.
They may lead out of this folder, because it is the user's own machine. The images are sent to the platform
with a metadata.jsonl.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cocu.client.exceptions import NothingToUploadError
from cocu.text.columns import (
    IN_TABLES_OF_IMAGES,
    PATH,
    URL,
    columns_without_header,
    find_column,
    find_duplicate,
    image_path,
    is_header,
    looks_like_path,
    looks_like_url,
    unique_names,
)
from cocu.text.delimited import DelimitedTable, open_delimited

ROWS_TRIED = 1_000
"""A table with URLs is of this kind only if one of so many first rows names a file that exists."""

OUTSIDE = "__"
"""Replaces `..` in the member names of images outside the table's folder."""


@dataclass
class TableImage:
    """One image with its captions.

    member: its name in the tar. others: the other cells of its first row, by column.
    """

    member: str
    file: Path
    captions: list[str]
    others: dict[str, str]

    def line(self) -> str:
        """Its line in the metadata.jsonl."""
        row = self.others | {"file_name": self.member, "caption": self.captions}
        return json.dumps(row, ensure_ascii=False)


@dataclass
class ImageTable:
    """The images of a table in the order of their rows, and reports on the rows that cannot be used.

    missing: paths of files that do not exist. lines: of the metadata.jsonl, with these reports.
    """

    images: list[TableImage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def report(self, reason: str, detail: str) -> None:
        """Add a line from which the platform counts the row in its report."""
        self.lines.append(json.dumps({"cocu": {"reason": reason, "detail": detail}}, ensure_ascii=False))


def read_image_table(
    table: Path, *, image_column: str | None = None, caption_column: str | None = None
) -> ImageTable | None:
    """The images that a table names; None where it is not a table of images (it has URLs, or is no table).

    Raises NothingToUploadError where the column of captions is not known, or none of the files exists.
    """
    with table.open("rb") as file:
        try:
            rows = open_delimited(file)
        except ValueError:
            return None
        first, second = _first_two(rows)
        if not first or any(map(looks_like_url, first)):
            return None
        header = is_header(first, second, image_column, caption_column)
        names = unique_names(first) if header else [str(number) for number in range(len(first))]
        path = _path_column(names, second if header else first, header, image_column)
        if path is None or (second is not None and path < len(second) and looks_like_url(second[path])):
            return None
        if find_column(names, URL) is not None and not _any_exists(table, rows, path, header):
            return None
        shown = None if header or caption_column is not None else columns_without_header(first)
        caption = shown[1] if shown else _caption_column(table, names, path, header, caption_column)
        if (name := find_duplicate(first, (names[path], names[caption]))) is not None:
            raise NothingToUploadError(f"{table}: two columns are called {name!r}; rename one of them")
        return _read(table, DelimitedTable(file, rows.dialect), names, path, caption, header=header)


def _first_two(table: DelimitedTable) -> tuple[list[str], list[str] | None]:
    rows = table.rows()
    first, second = next(rows, None), next(rows, None)
    return ([] if first is None else first.cells), (None if second is None else second.cells)


def _path_column(names: list[str], row: list[str] | None, header: bool, option: str | None) -> int | None:
    if option is not None:
        return names.index(option) if option in names else None
    if header and (known := find_column(names, PATH)) is not None:
        return known
    columns = [column for column, cell in enumerate(row or []) if looks_like_path(cell)]
    return columns[0] if len(columns) == 1 and columns[0] < len(names) else None


def _caption_column(table: Path, names: list[str], path: int, header: bool, option: str | None) -> int:
    if option is not None and option in names:
        return names.index(option)
    known = find_column(names, IN_TABLES_OF_IMAGES) if header and option is None else None
    if known is not None and known != path:
        return known
    if option is None and len(names) == 2:
        return 1 - path
    raise NothingToUploadError(
        f"{table} names images in column {names[path]!r}, but no column of captions is known among "
        f"{names[:30]}; name it with --caption-column (`caption_column` of the options)"
    )


def _any_exists(table: Path, rows: DelimitedTable, path: int, header: bool) -> bool:
    for number, row in enumerate(rows.rows()):
        if number >= ROWS_TRIED:
            return False
        if (
            (number or not header)
            and path < len(row.cells)
            and _existing_file(table, row.cells[path]) is not None
        ):
            return True
    return False


def _read(
    table: Path, delimited: DelimitedTable, names: list[str], path: int, caption: int, *, header: bool
) -> ImageTable:
    result = ImageTable()
    images: dict[str, TableImage] = {}
    rows = delimited.rows(header=header)
    if header:
        next(rows, None)
    for row in rows:
        where = f"{table.name}, line {row.line}"
        if row.problem:
            result.report("bad_row", f"{where}: {row.problem}")
            continue
        if not any(row.cells):
            continue
        cell = row.cells[path].strip()
        file = (_existing_file(table, cell) or _existing_file(table, image_path(cell))) if cell else None
        if file is None:
            result.missing.append(cell)
            result.report("missing_image", f"{where}: there is no file {cell!r} in {table.parent}")
            continue
        member = _member(table, file)
        if member in images:
            images[member].captions.append(row.cells[caption])
        else:
            others = {
                name: row.cells[column] for column, name in enumerate(names) if column not in (path, caption)
            }
            images[member] = TableImage(member, file, [row.cells[caption]], others)
    result.images = list(images.values())
    if not images:
        examples = ", ".join(map(repr, result.missing[:3]))
        raise NothingToUploadError(
            f"none of the {len(result.missing):,} images that {table} names exists ({examples}); paths are "
            f"relative to {table.parent.resolve()} ({delimited.dialect})"
        )
    result.lines.insert(0, json.dumps({"cocu": {"notes": _notes(delimited)}}, ensure_ascii=False))
    return result


def _notes(table: DelimitedTable) -> dict[str, Any]:
    notes: dict[str, Any] = {f"table: {table.dialect}": 1}
    notes |= {f"encoding_guessed: {name}": count for name, count in table.tally.guessed.items()}
    return notes | ({"characters_lost": table.tally.lost} if table.tally.lost else {})


def _existing_file(table: Path, cell: str) -> Path | None:
    """The file that a cell names, None where it does not exist; backslashes count as slashes, too."""
    for path in dict.fromkeys((cell.strip(), cell.strip().replace("\\", "/"))):
        file = table.parent / path
        try:
            if path and file.is_file():
                return file
        except (OSError, ValueError):  # the name is too long, or has a NUL
            continue
    return None


def _member(table: Path, file: Path) -> str:
    relative = os.path.relpath(os.path.normpath(file.absolute()), os.path.normpath(table.parent.absolute()))
    return "/".join(OUTSIDE if part == ".." else part for part in Path(relative).parts)
