"""Labels of a request: read piece by piece and kept in a SQLite file, so that millions need little memory.

The body is parsed while it is read from the disk; only the labels of one image are in memory at a time. Other
threads, and so the event loop, can run after every piece.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Final, Self

import ijson

from cocu.api.problems import BadRequestError
from cocu.errors import InvalidInputError, UnavailableError
from cocu.sample_names import last_part
from cocu.schemas.evaluations import LABELS_NAME

PIECE_BYTES: Final = 32 << 10
MAX_SILENT_PIECES: Final = 32
"""After so many pieces without any event of the parser a value counts as too long: about 1 MiB."""
MAX_LABELS_PER_IMAGE: Final = 100_000
MAX_NAME_LENGTH: Final = 4096
ROWS: Final = 1_000
MAX_INTEGER: Final = 2**63 - 1
MAX_ID_LENGTH: Final = 400

_SCHEMA: Final = """
CREATE TABLE labels (key TEXT PRIMARY KEY, labels TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE categories (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE last_parts (part TEXT NOT NULL, key TEXT NOT NULL);
CREATE TEMPORARY TABLE candidates (part TEXT NOT NULL);
CREATE TABLE annotations (image TEXT, category TEXT, PRIMARY KEY (image, category)) WITHOUT ROWID;
"""

Event = tuple[str, Any]


class LabelTable:
    """A mapping of image names to labels, each once and sorted; images without labels are left out.

    coco: whether the labels come from a COCO file. label_map: the name in the request.
    annotations_without_category: how many annotations of a COCO file have no category, as captions do.
    kept: the name of labels that the platform has, where a request names some instead of sending them.
    """

    def __init__(self, folder: Path) -> None:
        self.coco = False
        self.label_map: str | None = None
        self.kept: str | None = None
        self.annotations_without_category = 0
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, suffix=".labels"))
            self._database = sqlite3.connect(file.name, check_same_thread=False, isolation_level=None)
            stack.callback(self._database.close)
            self._database.create_function("last_part", 1, last_part, deterministic=True)
            # The file is deleted with the request, so it needs no crash safety.
            for pragma in (
                "journal_mode = OFF",
                "synchronous = OFF",
                "cache_size = -32768",
                "temp_store = MEMORY",
            ):
                self._database.execute(f"PRAGMA {pragma}").fetchall()
            self._database.executescript(_SCHEMA)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        count: int = self._database.execute("SELECT count(*) FROM labels").fetchone()[0]
        return count

    def get(self, key: str) -> list[str] | None:
        """Return the labels of an image, or None."""
        try:
            row = self._database.execute("SELECT labels FROM labels WHERE key = ?", (key,)).fetchone()
        except UnicodeEncodeError:  # a key that no text can hold has no labels
            return None
        return None if row is None else list(json.loads(row[0]))

    def items(self) -> Iterator[tuple[str, list[str]]]:
        """Yield every image with its labels, by key."""
        for key, labels in self._database.execute("SELECT key, labels FROM labels ORDER BY key"):
            yield key, json.loads(labels)

    @property
    def hash(self) -> str:
        """The SHA-256 of the table as JSON, with keys sorted."""
        digest = hashlib.sha256(b"{")
        for number, (key, labels) in enumerate(
            self._database.execute("SELECT key, labels FROM labels ORDER BY key")
        ):
            digest.update(f"{', ' if number else ''}{json.dumps(key)}: {labels}".encode())
        digest.update(b"}")
        return digest.hexdigest()

    def document(self) -> Iterator[bytes]:
        """Yield the labels as a body that `read` reads, piece by piece; `label_map` stands in it."""
        yield f'{{"label_map": {json.dumps(self.label_map)}, "labels": {{'.encode()
        for number, (key, labels) in enumerate(self.items()):
            yield f"{', ' if number else ''}{json.dumps(key)}: {json.dumps(labels)}".encode()
        yield b"}}"

    def read(self, body: IO[bytes]) -> None:
        """Read the labels of a request (see `EvaluationCreate`).

        Raises BadRequestError for a body that is not JSON, InvalidInputError for one of another form.
        """
        self._database.execute("BEGIN")
        try:
            events = _events(body)
            self._read_request(events)
            # Read to the end: text after the object is an error of the parser.
            for _ in events:
                pass
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"the labels cannot be kept while they are read: {error}") from error
        except (ijson.JSONError, UnicodeError, ValueError, OverflowError) as error:
            raise BadRequestError(
                "The body is not JSON that can be read: malformed, cut off, not UTF-8, or with a whole "
                "number of more than 64 bits."
            ) from error
        self._database.execute("COMMIT")

    def _read_request(self, events: Iterator[Event]) -> None:
        if next(events)[0] != "start_map":
            raise _error("body", "must be an object; see EvaluationCreate")
        sources = 0
        for name, event in _fields(events):
            match name, event:
                case "labels" | "instances" | "label_map" | "kept", ("null", _):
                    pass
                case "labels", ("start_map", _):
                    self._insert_once(self._labelled(events))
                    sources += 1
                case "instances", ("start_map", _):
                    self._read_instances(events)
                    sources += 1
                case "label_map", ("string", text):
                    if len(text) > 200:
                        raise _error("body.label_map", "has more than 200 characters; name a shipped map")
                    self.label_map = text
                case "kept", ("string", text):
                    self.kept = _kept_name(text)
                    sources += 1
                case "labels" | "instances" | "label_map" | "kept", _:
                    kind = "a text" if name in ("label_map", "kept") else "an object"
                    raise _error(f"body.{name}", f"must be {kind}")
                case _:
                    raise _error(f"body.{name}", "is not known here; remove it or check its spelling")
        if sources != 1:
            raise _error(
                "body",
                "give exactly one of labels (a table key → labels), instances (a COCO file) and, for an "
                "evaluation, kept (the name of labels that the dataset keeps)",
            )

    def _labelled(self, events: Iterator[Event]) -> Iterator[tuple[str, str]]:
        for key, event in _fields(events):
            if event[0] != "start_array":
                raise _error(f"body.labels.{key}", "must be a list of labels")
            labels: list[str] = []
            for kind, text in events:
                if kind == "end_array":
                    break
                if kind != "string":
                    raise _error(f"body.labels.{key}", "must be a list of texts")
                labels.append(text)
                if len(labels) > MAX_LABELS_PER_IMAGE:
                    raise _error(f"body.labels.{key}", f"has more than {MAX_LABELS_PER_IMAGE:,} labels")
            if labels:
                yield key, json.dumps(sorted(set(labels)))

    def _read_instances(self, events: Iterator[Event]) -> None:
        """Read a COCO file as its many tools write it: ids are numbers or texts, and 7 and "7" are the same.

        An annotation has a category, or the segments of a panoptic image, each with one.
        """
        self.coco = True
        missing = {"images": ("id", "file_name"), "annotations": ("image_id",), "categories": ("id", "name")}
        required = dict(missing)
        for name, event in _fields(events):
            if name not in required:
                _skip(events, event)
                continue
            if event[0] != "start_array":
                raise _error(f"body.instances.{name}", "must be a list")
            optional = ("category_id", "segments_info") if name == "annotations" else ()
            rows = _rows(events, f"body.instances.{name}", required[name], optional)
            if name == "annotations":
                self._insert(name, self._categories(rows))
            else:
                self._insert(name, (tuple(row[column] for column in required[name]) for row in rows))
            missing.pop(name, None)
        for name in missing:
            raise _error(f"body.instances.{name}", "is required; give it")
        self._check_instances()

    def _categories(self, annotations: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        """Yield image and category of every annotation; count those without a category."""
        for annotation in annotations:
            categories = list(annotation.get("segments_info") or ())
            if annotation.get("category_id") is not None:
                categories.append(annotation["category_id"])
            if not categories:
                self.annotations_without_category += 1
            yield from ((annotation["image_id"], category) for category in categories)

    def _check_instances(self) -> None:
        contradiction = self._database.execute(
            "SELECT image, category FROM annotations WHERE image NOT IN (SELECT id FROM images) "
            "OR category NOT IN (SELECT id FROM categories) LIMIT 1"
        ).fetchone()
        if contradiction is not None:
            raise InvalidInputError(
                "The COCO file contradicts itself.",
                {
                    "body.instances.annotations": f"image {contradiction[0]} or category "
                    f"{contradiction[1]} of an annotation is not listed"
                },
            )

    def name_images(self) -> None:
        """Store the labels of a COCO file by file name, and the last parts of all names for look-ups."""
        self._database.execute("BEGIN")
        rows = self._database.execute(
            "SELECT DISTINCT images.name, categories.name FROM annotations JOIN images ON images.id = image "
            "JOIN categories ON categories.id = category ORDER BY images.name, categories.name"
        )
        self._insert(
            "labels",
            (
                (name, json.dumps([label for _, label in group]))
                for name, group in groupby(rows, itemgetter(0))
            ),
        )
        self._database.execute("INSERT INTO last_parts SELECT last_part(key), key FROM labels")
        self._database.execute("CREATE INDEX by_last_part ON last_parts (part)")
        self._database.execute("COMMIT")

    def known_last_parts(self, parts: Iterable[str]) -> set[str]:
        """Return those of the given last parts that names in the table have too (see `sample_names`)."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO candidates VALUES (?)", ((part,) for part in parts))
        rows = self._database.execute(
            "SELECT DISTINCT part FROM candidates JOIN last_parts USING (part)"
        ).fetchall()
        self._database.execute("DELETE FROM candidates")
        self._database.execute("COMMIT")
        return {part for (part,) in rows}

    def names_of(self, parts: Iterable[str]) -> list[str]:
        """Return the names of the images that have one of these last parts, sorted."""
        rows = self._database.cursor()
        names = {
            name
            for part in parts
            for (name,) in rows.execute("SELECT key FROM last_parts WHERE part = ?", (part,))
        }
        return sorted(names)

    def _insert_once(self, rows: Iterable[tuple[str, str]]) -> None:
        for key, labels in rows:
            try:
                self._database.execute("INSERT INTO labels VALUES (?, ?)", (key, labels))
            except sqlite3.IntegrityError as error:
                problem = "is there twice; give all labels of an image in one list"
                raise _error(f"body.labels.{key}", problem) from error

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - ours


def _events(body: IO[bytes]) -> Iterator[Event]:
    """Yield the events of a JSON parser, which gets the body piece by piece."""
    events: list[Event] = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, use_float=True)
    silent_pieces = 0
    while piece := body.read(PIECE_BYTES):
        parser.send(piece)
        silent_pieces = 0 if events else silent_pieces + 1
        if silent_pieces > MAX_SILENT_PIECES:
            raise _error(
                "body", f"one value has more than {PIECE_BYTES * MAX_SILENT_PIECES:,} bytes; labels are short"
            )
        yield from events
        events.clear()
    parser.close()
    yield from events


def _fields(events: Iterator[Event]) -> Iterator[tuple[str, Event]]:
    """Yield the fields of an object that has begun: the name, and the first event of the value."""
    for kind, value in events:
        if kind == "end_map":
            return
        yield str(value), next(events)
    raise ijson.IncompleteJSONError("cut off")


def _rows(
    events: Iterator[Event], field: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield these fields of every object of a list that has begun; all others are skipped."""
    for number, event in enumerate(events):
        if event[0] == "end_array":
            return
        if event[0] != "start_map":
            raise _error(f"{field}.{number}", "must be an object")
        values: dict[str, Any] = {}
        for name, (kind, value) in _fields(events):
            where = f"{field}.{number}.{name}"
            if name in optional and kind == "null":
                continue
            if name == "segments_info" and name in optional:
                values[name] = _segments(events, where, (kind, value))
            elif name in required or name in optional:
                values[name] = _value(name, where, kind, value)
            else:
                _skip(events, (kind, value))
        for name in required:
            if name not in values:
                raise _error(f"{field}.{number}.{name}", "is required; give it")
        yield values


def _value(name: str, where: str, kind: str, value: Any) -> str:
    if name == "file_name":
        return _name(where, kind, value, MAX_NAME_LENGTH)
    return _name(where, kind, value, MAX_ID_LENGTH) if name == "name" else _id(where, kind, value)


def _segments(events: Iterator[Event], field: str, event: Event) -> set[str]:
    """Return the categories of a panoptic annotation."""
    if event[0] != "start_array":
        raise _error(field, "must be a list")
    categories: set[str] = set()
    for segment in _rows(events, field, ("category_id",), ()):
        categories.add(segment["category_id"])
        if len(categories) > MAX_LABELS_PER_IMAGE:
            raise _error(field, f"has more than {MAX_LABELS_PER_IMAGE:,} categories")
    return categories


def _kept_name(text: str) -> str:
    if re.fullmatch(LABELS_NAME, text) is None:
        raise _error("body.kept", "is no name of labels that a dataset keeps")
    return text


def _name(field: str, kind: str, value: Any, longest: int) -> str:
    if kind != "string" or len(value) > longest:
        raise _error(field, f"must be a text of at most {longest:,} characters")
    return str(value)


def _id(field: str, kind: str, value: Any) -> str:
    """Return an id as text: 7, 7.0 and "7" are the same id."""
    if kind == "string" and len(value) <= MAX_ID_LENGTH:
        return str(value)
    if kind != "number" or value != int(value) or abs(value) > MAX_INTEGER:
        raise _error(field, f"must be a whole number, or a text of at most {MAX_ID_LENGTH} characters")
    return str(int(value))


def _skip(events: Iterator[Event], event: Event) -> None:
    """Skip the value that this event begins."""
    depth = 0
    while True:
        if event[0].startswith("start_"):
            depth += 1
        elif event[0].startswith("end_"):
            depth -= 1
        if depth == 0:
            return
        event = next(events)


def _error(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError("The labels cannot be read.", {field: problem})
