"""Captions that an archive keeps in one file for many images.

metadata.jsonl, metadata.csv    ImageFolder: `file_name`, from the folder of the table on, and a caption
any other .csv, .tsv, .jsonl    likewise, where a column is called as `cocu.text.columns` has it for paths
                                and another for captions, or the first row of a table without a header
                                shows which they are
captions.txt, results.token, …  Flickr's: such a table under the ending of a text, which lies beside no image
                                of its name
any .json with `images` and     COCO captions (see `coco`): several per image; as the annotations lie in a
`annotations` that caption      folder of their own, `file_name` is the end of the image's path, or all of it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from cocu.errors import InvalidInputError
from cocu.formats.archive import check_name
from cocu.formats.captions import stated_captions
from cocu.formats.columns import PATH, Columns, pick
from cocu.formats.limits import Limits
from cocu.formats.metadata import parse_json, row_metadata
from cocu.formats.notes import NO_HEADER, Notes
from cocu.formats.rejections import Reason, Rejection, printable
from cocu.sample_names import match_names
from cocu.text.columns import (
    IN_TABLES_OF_IMAGES,
    columns_without_header,
    find_column,
    find_duplicate,
    image_path,
    unique_names,
)
from cocu.text.delimited import open_delimited
from cocu.text.encodings import decode_lines
from cocu.text.tables import names_images

_METADATA = re.compile(r"metadata\.(jsonl|csv|tsv)", re.IGNORECASE)
_MOST_NOTES = 20


class BadTableError(Exception):
    """The table cannot be used; says why."""


@dataclass
class Captioned:
    """What a table says of one image."""

    captions: list[str]
    metadata: dict[str, Any] = field(default_factory=dict)
    column: str = ""
    """Of the table, the one that the captions are from."""


@dataclass
class CaptionTable:
    """The images that one table captions, by their paths as it names them."""

    name: str
    images: dict[str, Captioned]
    rejections: list[Rejection] = field(default_factory=list)
    """Rows of it that cannot be used."""
    _paths: dict[str, str] = field(default_factory=dict)
    _ambiguous: int = 0

    def match(self, members: Iterable[str]) -> None:
        """Find out which members its images are (see `match_names`); before anything else is asked."""
        matches = match_names(self.images, members)
        self._paths = {member: path for path, member in matches.keys.items()}
        self._ambiguous = len(matches.ambiguous)

    def names(self, member: str) -> bool:
        """Whether the table says something of a member."""
        return member in self._paths

    def take(self, member: str) -> Captioned | None:
        """What the table says of a member, None if nothing."""
        path = self._paths.get(member)
        return None if path is None else self.images[path]

    def unused(self) -> Iterator[Rejection]:
        """A rejection that counts the images it captions and that are not there, if any."""
        missing = len(self.images) - len(self._paths) - self._ambiguous
        if missing:
            detail = f"{missing} of the {len(self.images)} images it captions are not in this file"
            yield Rejection(None, self.name, Reason.MISSING_IMAGE, detail)
        if self._ambiguous:
            detail = (
                f"{self._ambiguous} of the {len(self.images)} images it captions could be several in this "
                "file; name them with their folders"
            )
            yield Rejection(None, self.name, Reason.AMBIGUOUS_NAME, detail)


def names_members(name: str, head: bytes) -> bool:
    """Whether a table, which begins so, has a column of images' paths and one of captions.

    So any table beside images is told from one that is about something else; `metadata.*` always is one.
    """
    if _METADATA.fullmatch(name.rpartition("/")[2]):
        return True
    return names_images(name, head)


def read_image_folder(
    name: str, raw: bytes, columns: Columns, limits: Limits, notes: Notes | None = None
) -> CaptionTable:
    """ImageFolder's metadata.jsonl or metadata.csv, or another table of paths and captions.

    Several rows of one image are several captions of it. Raises BadTableError where no line can be used.
    """
    notes = notes or Notes()
    folder = name.rpartition("/")[0]
    images: dict[str, Captioned] = {}
    rejections: list[Rejection] = []
    seen: list[str] = []
    json_lines = name.lower().endswith(".jsonl")
    rows = _json_rows(raw, notes) if json_lines else _delimited_rows(raw, notes, columns.caption)
    for line, row in rows:
        if isinstance(row, dict) and isinstance(row.get("cocu"), dict):
            rejections += _reported(name, row["cocu"], notes)
            continue
        seen = seen or (list(row) if isinstance(row, dict) else [])
        stated = row if isinstance(row, str) else _stated(row, folder, columns, limits)
        if isinstance(stated, str):
            rejections.append(Rejection(None, name, Reason.BAD_ROW, f"line {line}: {stated}"))
        elif stated is not None and stated[0] in images:
            images[stated[0]].captions += stated[1].captions
        elif stated is not None:
            images[stated[0]] = stated[1]
    if not images:
        first = f"; {rejections[0].detail}" if rejections else ""
        header = f"; its columns are {', '.join(map(repr, seen[:12]))}" if seen else ""
        raise BadTableError(f"no line of it has a file_name and a caption (caption, text, …){header}{first}")
    return CaptionTable(name, images, rejections)


def _reported(name: str, row: dict[str, Any], notes: Notes) -> Iterator[Rejection]:
    """What the client says of a table that it has packed: rows it could not use, and how it was written."""
    if row.get("reason") in (Reason.BAD_ROW, Reason.MISSING_IMAGE):
        yield Rejection(None, name, Reason(row["reason"]), str(row.get("detail", "")))
    counts = row.get("notes")
    for code, count in counts.items() if isinstance(counts, dict) else ():
        if isinstance(count, int) and 0 < count < 1 << 31 and len(notes.others) < _MOST_NOTES:
            notes.others[printable(code)] += count


def _stated(
    row: dict[str, Any], folder: str, columns: Columns, limits: Limits
) -> tuple[str, Captioned] | str | None:
    """The path of an image and what a row says of it; what is wrong with the row; None without a caption."""
    names = list(row)
    file_column = names[at] if (at := find_column(names, PATH)) is not None else None
    try:
        caption_column = pick(names, IN_TABLES_OF_IMAGES, columns.caption if columns.caption in row else None)
    except InvalidInputError as error:
        raise BadTableError(str(error)) from error
    path = row.get(file_column) if file_column is not None else None
    if not isinstance(path, str) or not path.strip():
        return f"it names no image; one of the columns {', '.join(PATH)} does"
    if caption_column is None:
        return None
    stated = stated_captions(row[caption_column])
    path = image_path(path)
    checked = check_name(f"{folder}/{path}" if folder else path, limits)
    if isinstance(checked, Rejection):
        return f"the path {path[:100]!r}: {checked.detail}"
    if not stated:
        return None
    rest = {key: value for key, value in row.items() if key not in (file_column, caption_column)}
    return checked, Captioned(stated, row_metadata(rest, limits), caption_column)


def _json_rows(raw: bytes, notes: Notes) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, text in enumerate(decode_lines(raw, notes.tally), start=1):
        if text.strip():
            try:
                row = parse_json(text, notes.others)
            except ValueError as error:
                row = f"it is no JSON ({error})"
            yield line, row if isinstance(row, dict | str) and row else "it is no JSON object"


def _delimited_rows(
    raw: bytes, notes: Notes, caption_column: str | None = None
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    try:
        table = open_delimited(BytesIO(raw))
    except ValueError as error:
        raise BadTableError(str(error)) from error
    table.tally = notes.tally
    notes.table(table.dialect)
    rows = table.rows()
    first = next(rows, None)
    if first is None or first.problem:
        raise BadTableError(first.problem if first else "it has no rows")
    positions = None if caption_column in first.cells else columns_without_header(first.cells)
    if positions is not None:
        path, caption = positions
        names = [str(number) for number in range(len(first.cells))]
        names[path], names[caption] = PATH[0], IN_TABLES_OF_IMAGES[0]
        rows = table.rows(header=False)
        notes.others[f"{NO_HEADER}: paths in column {path + 1}, captions in column {caption + 1}"] += 1
    else:
        if (name := find_duplicate(first.cells, (*PATH, *IN_TABLES_OF_IMAGES))) is not None:
            raise BadTableError(f"two columns are called {name!r}; rename one of them")
        names = unique_names(first.cells)
    for row in rows:
        if row.problem or any(row.cells):
            yield row.line, row.problem or dict(zip(names, row.cells, strict=True))
