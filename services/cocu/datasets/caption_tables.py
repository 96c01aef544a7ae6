"""Captions that an archive keeps in one file for many images.

metadata.jsonl, metadata.csv    ImageFolder: `file_name`, from the folder of the table on, and a caption
any .json with `images` and     COCO captions: several per image; `file_name` is the end of the
`annotations` that caption      image's path, since the annotations lie in a folder of their own
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from cocu.datasets.columns import CAPTION, FILE_NAME, Columns, pick
from cocu.datasets.limits import Limits
from cocu.datasets.members import check_name
from cocu.datasets.metadata import parse_metadata, row_metadata
from cocu.errors import InvalidInputError

_LONGEST_COCO_ITEM = 1 << 16
_USUAL_COCO_ITEM = 1 << 11
_SPACE = re.compile(r"[ \t\n\r]*")


class BadTableError(Exception):
    """The table cannot be used; says why."""


@dataclass
class Captioned:
    """What a table says of one image."""

    captions: list[str]
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class CaptionTable:
    """The images that one table captions; by their paths in the archive, or by the ends of these."""

    name: str
    images: dict[str, Captioned]
    by_end: bool
    used: set[str] = field(default_factory=set)

    def take(self, member: str) -> Captioned | None:
        """What the table says of a member, None if nothing."""
        path = member
        while path:
            if path in self.images:
                self.used.add(path)
                return self.images[path]
            path = path.partition("/")[2] if self.by_end else ""
        return None

    @property
    def unused(self) -> int:
        """How many of its images nobody asked for."""
        return len(self.images) - len(self.used)


def maybe_coco(raw: bytes) -> bool:
    """Whether a JSON file may hold COCO captions: cheap, and rather yes than no."""
    return b'"images"' in raw and b'"annotations"' in raw and b'"caption"' in raw


def read_coco(name: str, raw: bytes) -> CaptionTable:
    """COCO captions, item by item, so that one of them never costs more than itself. Raises BadTableError."""
    names: dict[int | str, str] = {}
    captions: dict[int | str, list[str]] = {}
    for part, item in _coco_items(raw.decode("utf-8-sig", "replace")):
        if part == "images" and isinstance(item.get("file_name"), str) and _is_id(item.get("id")):
            names[item["id"]] = item["file_name"]
        elif part == "annotations" and isinstance(item.get("caption"), str) and _is_id(item.get("image_id")):
            captions.setdefault(item["image_id"], []).append(item["caption"])
    images = {
        path: Captioned(captions[number])
        for number, path in names.items()
        if number in captions and path.strip("/")
    }
    return CaptionTable(name, images, by_end=True)


def read_image_folder(name: str, raw: bytes, columns: Columns, limits: Limits) -> CaptionTable:
    """ImageFolder's metadata.jsonl or metadata.csv. Raises BadTableError where no line can be used."""
    text = raw.decode("utf-8-sig", "replace")
    folder = name.rpartition("/")[0]
    images: dict[str, Captioned] = {}
    asked = columns.caption
    for row in _csv_rows(text) if name.lower().endswith(".csv") else map(parse_metadata, text.split("\n")):
        try:
            file_column = pick(list(row), FILE_NAME, None)
            caption_column = pick(list(row), CAPTION, asked if asked in row else None)
        except InvalidInputError as error:
            raise BadTableError(str(error)) from error
        path = row.get(file_column) if file_column is not None else None
        if not isinstance(path, str) or caption_column is None:
            continue
        captions = row[caption_column] if isinstance(row[caption_column], list) else [row[caption_column]]
        stated = [each for each in captions if isinstance(each, str)]
        checked = check_name(f"{folder}/{path}" if folder else path, limits)
        if stated and isinstance(checked, str):
            rest = {key: value for key, value in row.items() if key not in (file_column, caption_column)}
            images.setdefault(checked, Captioned(stated, row_metadata(rest, limits)))
    if not images:
        raise BadTableError("no line of it has a file_name and a caption (caption, text, …)")
    return CaptionTable(name, images, by_end=False)


def _csv_rows(text: str) -> Iterator[dict[str, Any]]:
    reader = csv.reader(StringIO(text, newline=""))
    try:
        header = next(reader, [])
        for cells in reader:
            yield dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise BadTableError(f"line {reader.line_num}: {error}") from error


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)


def _coco_items(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in the lists `images` and `annotations` of a JSON object."""
    scanner = _Scanner(text)
    for name in scanner.entries("{"):
        if name in ("images", "annotations") and scanner.follows("["):
            for item in scanner.entries("["):
                if isinstance(item, dict):
                    yield name, item
        else:
            scanner.value()


class _Scanner:
    """Reads JSON a value at a time, none of them longer than `_LONGEST_COCO_ITEM` characters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._at = 0

    def entries(self, opening: str) -> Iterator[Any]:
        """The items of the list, or the names of the object, that begins here; read its values in between."""
        closing = {"[": "]", "{": "}"}[opening]
        self._expect(opening)
        if self.follows(closing):
            self._expect(closing)
            return
        while True:
            entry = self.value()
            if opening == "{":
                self._expect(":")
            yield entry
            if self.follows(closing):
                self._expect(closing)
                return
            self._expect(",")

    def follows(self, character: str) -> bool:
        """Whether this comes next."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._text.startswith(character, self._at)

    def value(self) -> Any:
        """The value that begins here."""
        self.follows("")
        for length in (_USUAL_COCO_ITEM, _LONGEST_COCO_ITEM):
            piece = self._text[self._at : self._at + length]
            try:
                found, size = self._decoder.raw_decode(piece)
            except (ValueError, RecursionError):
                continue
            self._at += size
            return found
        raise BadTableError(f"no JSON value of at most {_LONGEST_COCO_ITEM} characters at {self._at}")

    def _expect(self, character: str) -> None:
        if not self.follows(character):
            raise BadTableError(f"{character!r} is missing at character {self._at}")
        self._at += 1
