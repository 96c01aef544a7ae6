"""Captions in JSON: COCO's file for many images, and the fields of the one beside an image.

Files are read event by event (`ijson`), so that memory stays small however long or deep a value is.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from io import BytesIO
from typing import Any

import ijson

from cocu.formats.caption_tables import BadTableError, Captioned, CaptionTable
from cocu.formats.captions import MOST_NESTED, stated_captions
from cocu.formats.columns import CAPTION
from cocu.formats.rejections import Reason, Rejection, printable
from cocu.sample_names import normal_path
from cocu.text.columns import IN_ITEMS
from cocu.text.encodings import Tally, decode_text, marked_encoding, needs_guess

_MAYBE_UNREADABLE = re.compile(rb"NaN|Infinity|[0-9]{1000}|[eE][+-]?[0-9]{5}")
_WORDS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|-?Infinity|NaN|[-+.0-9eE]{5,}', re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9]{1000}|[eE][+-]?[0-9]{5}")
_OPENING, _CLOSING = ("start_map", "start_array"), ("end_map", "end_array")
_COCO_FIELDS = {"images": ("id", "file_name"), "annotations": ("image_id", "caption")}

WHOLE = "captions"
"""The field under which a .json is kept that is no object, but a caption or a list of them."""

_LARGEST_ID = 10**100

_ERRORS = (ijson.JSONError, ValueError, ArithmeticError)

_Event = tuple[str, Any]


def maybe_coco(raw: bytes) -> bool:
    """Whether a JSON file may hold COCO captions: cheap, and rather yes than no."""
    if marked_encoding(raw) is not None or b"\0" in raw[:4]:
        raw = decode_text(raw).text.encode("utf-8", "replace")
    return b'"images"' in raw and b'"annotations"' in raw and b'"caption"' in raw


def read_coco(name: str, raw: bytes, tally: Tally | None = None) -> CaptionTable:
    """COCO captions by the paths that the file names images with. Raises BadTableError.

    tally: counts what was guessed of its encoding, or lost.
    """
    if needs_guess(raw) or marked_encoding(raw) is not None or b"\0" in raw[:4]:
        raw = (tally or Tally()).text(decode_text(raw)).encode("utf-8", "replace")
    names: dict[str, str] = {}
    captions: dict[str, list[str]] = {}
    shared: set[str] = set()
    unnamed = unusable = 0
    for part, item in _coco_items(raw):
        if part == "images":
            path = item.get("file_name")
            if not isinstance(path, str) or not normal_path(path) or not _is_id(item.get("id")):
                unnamed += 1
            elif names.setdefault(_id(item["id"]), path) != path:
                shared.add(_id(item["id"]))
        elif part == "annotations" and isinstance(item.get("caption"), str) and _is_id(item.get("image_id")):
            captions.setdefault(_id(item["image_id"]), []).append(item["caption"])
        elif part == "annotations" and "caption" in item:  # others are boxes and masks
            unusable += 1
    images: dict[str, Captioned] = {}
    for number, path in names.items():
        if number in captions and number not in shared:
            # A file that is listed twice has the captions of both.
            images.setdefault(path, Captioned([])).captions.extend(captions[number])
    unlisted = len(captions.keys() - names.keys())
    problems = {
        f"captions of {unlisted} image ids that are not among the {len(names)} of its `images`": unlisted,
        f"{unnamed} of its `images` without a file_name, or without an id that is a number or text": unnamed,
        f"{unusable} captions that are no text, or without an image_id": unusable,
        f"{len(shared)} ids that several of its `images` have; their captions are of no image": len(shared),
    }
    rejections = [
        Rejection(None, name, Reason.BAD_ROW, detail) for detail, count in problems.items() if count
    ]
    return CaptionTable(name, images, rejections)


def captions_in_json(document: Mapping[str, Any], caption_column: str | None = None) -> list[list[str]]:
    """The captions of a sample's .json, field by field: the one asked for, then the usual ones in order."""
    names = {name.lower(): name for name in reversed(list(document))}
    fields = [caption_column] if caption_column is not None and caption_column in document else []
    fields += [names[usual] for usual in CAPTION if usual in names]
    stated = (stated_captions(document[name]) for name in dict.fromkeys(fields))
    return [texts for texts in stated if texts]


def caption_fields(raw: bytes, caption_column: str | None = None) -> dict[str, Any]:
    """What `captions_in_json` looks at, of a JSON object of any size and depth.

    Of a text or a list, which have no fields, `captions` is the whole. {} for anything else.
    """
    fields: dict[str, Any] = {}
    try:
        for name, value in _fields_at_top(_events(raw), caption_column):
            fields[name] = value  # the last, as where the whole object is parsed
    except _ERRORS:
        pass  # what came before the damage is good
    return fields


def _fields_at_top(events: Iterator[_Event], caption_column: str | None) -> Iterator[tuple[str, Any]]:
    """The object's own fields that may be captions, without what cannot be one."""
    event, value = next(events, ("null", None))
    if event != "start_map":
        yield WHOLE, _captions_within(events, event, value, MOST_NESTED)
        return
    for event, name in events:
        if event == "map_key" and (name == caption_column or name.lower() in CAPTION):
            yield name, _captions_within(events, *next(events), MOST_NESTED)
        elif event == "map_key":
            _captions_within(events, *next(events), 0)


def _captions_within(events: Iterator[_Event], event: str, value: Any, depth: int) -> Any:
    """The value that begins with an event, without what `stated_captions` passes over."""
    if event == "start_array" and depth > 0:
        items = []
        for inner, content in events:
            if inner == "end_array":
                break
            items.append(_captions_within(events, inner, content, depth - 1))
        return [item for item in items if item is not None]
    if event == "start_map" and depth > 0:
        fields = {}
        for inner, name in events:
            if inner == "end_map":
                break
            within = depth - 1 if name in IN_ITEMS else 0
            fields[name] = _captions_within(events, *next(events), within)
        return {name: field for name, field in fields.items() if field is not None}
    if event in _OPENING:
        opened = 1
        while opened:
            inner, _ = next(events)
            opened += (inner in _OPENING) - (inner in _CLOSING)
        return None
    return value if event == "string" else None


def _coco_items(raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """What matters of the objects in the lists `images` and `annotations`."""
    depth, part, field = 0, "", ""
    item: dict[str, Any] = {}
    try:
        for event, value in _events(raw):
            if depth == 0 and event != "start_map":
                raise BadTableError("it is no JSON object")
            if event in _OPENING:
                depth += 1
                if depth == 2:
                    part = part if event == "start_array" else ""
                if depth == 3:
                    item = {}
            elif event in _CLOSING:
                depth -= 1
                if depth == 2 and item:
                    yield part, item
                    item = {}
            elif event == "map_key":
                part, field = (value, field) if depth == 1 else (part, value)
            elif depth == 3 and field in _COCO_FIELDS.get(part, ()):
                item[field] = value
    except _ERRORS as error:
        raise BadTableError(f"it is no JSON to its end: {printable(str(error), 100)}") from error


def _events(raw: bytes) -> Iterator[_Event]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = raw.decode("utf-16", "replace").encode("utf-8", "replace")
    if _MAYBE_UNREADABLE.search(raw):
        raw = _WORDS.sub(_readable, raw)
    return iter(ijson.basic_parse(_Utf8(raw)))


def _readable(word: re.Match[bytes]) -> bytes:
    """Null for what JSON does not know, though Python writes it, and for numbers that no parser takes.

    By those of thousands of digits `ijson` even ends the process.
    """
    is_number = word[0][-1:].isdigit() and not _LONG_NUMBER.search(word[0])
    return word[0] if word[0].startswith(b'"') or is_number else b"null"


class _Utf8:
    """Bytes of JSON as a file of valid UTF-8 without a byte order mark."""

    def __init__(self, raw: bytes) -> None:
        self._file = BytesIO(raw)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")

    def read(self, size: int) -> bytes:
        """At most about `size` bytes; none at the end."""
        if not size:
            return b""
        piece = self._file.read(size)
        text = self._decoder.decode(piece, final=not piece)
        while piece and not text:
            piece = self._file.read(size)
            text = self._decoder.decode(piece, final=not piece)
        return text.encode("utf-8", "replace")


def _is_id(value: object) -> bool:
    # Numbers of thousands of digits are no ids, and costly as texts.
    return isinstance(value, str) or (isinstance(value, int | Decimal) and -_LARGEST_ID < value < _LARGEST_ID)


def _id(value: int | str | Decimal) -> str:
    """An id as text: 7, "7" and 7.0 are one, which tools that go through tables mix."""
    return str(int(value)) if isinstance(value, Decimal) and value == int(value) else str(value)
