"""The readers of files, by the table of formats (`cocu.schemas.formats`), and which of them a file needs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import BinaryIO, Protocol

from cocu.errors import InvalidInputError
from cocu.formats.archive import Members
from cocu.formats.columns import Columns, looks_like_path
from cocu.formats.grouping import join
from cocu.formats.limits import Limits
from cocu.formats.notes import Notes
from cocu.formats.options import ReadOptions
from cocu.formats.records import EmbeddingText, ImageText, UrlText
from cocu.formats.rejections import Rejection
from cocu.schemas import formats as table
from cocu.text.delimited import find_dialect, first_rows

HEAD_BYTES = 4096
"""How much of a file `detect_format` wants to see."""

_ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
ARROW = (
    "; this is an Arrow file, as datasets.save_to_disk writes them: write Parquet with dataset.to_parquet(…)"
)
LOCAL_PATHS = (
    "the table names images by their paths, which lie where you are: give the table itself to "
    "`cocu curate`, `cocu dataset add` or `upload`, which send the images along, or pack it with them into "
    "a tar or zip"
)

Item = ImageText | UrlText | EmbeddingText | Rejection
"""What a reader finds before anybody looks at the images."""

Matches = Callable[[bytes, Columns], bool]
OpenMembers = Callable[[BinaryIO, Limits, Notes], Members]


class OpenItems(Protocol):
    """Opens a seekable file and gives the columns that it has, if it is a table, and its items, once.

    Raises InvalidInputError when the file cannot be what the format says; what is wrong with a part of it is
    a rejection among the items. What was noticed goes into `notes`.
    """

    def __call__(
        self, file: BinaryIO, *, limits: Limits, options: ReadOptions, notes: Notes
    ) -> tuple[Columns, Iterator[Item]]:
        """Open the file."""


@dataclass(frozen=True)
class Reader:
    """How the files of one format are recognised and read.

    matches: whether a file that begins with these bytes (`HEAD_BYTES` of them, or all there are) is of the
    format; the columns are what the uploader says of a table. members: of an archive, its files.
    """

    matches: Matches
    open: OpenItems
    members: OpenMembers | None = None

    @classmethod
    def of_archive(cls, matches: Matches, members: OpenMembers, *, first_dot: bool = False) -> Reader:
        """The reader of an archive of images, captions and metadata; see `grouping.join`.

        first_dot: the name of a sample ends at its first dot, as in a WebDataset, instead of its last.
        """

        def open_items(
            file: BinaryIO, *, limits: Limits, options: ReadOptions, notes: Notes
        ) -> tuple[Columns, Iterator[Item]]:
            pairs = join(
                lambda: members(file, limits, notes),
                first_dot=first_dot,
                limits=limits,
                options=options,
                notes=notes,
            )
            return Columns(), pairs

        return cls(matches, open_items, members)


def reader_of(format: str) -> Reader:
    """The reader of a format of the table that has one."""
    (spec,) = (spec for spec in table.FORMATS if spec.name == format)
    return _load(spec)


def detect_format(head: bytes, name: str = "", columns: Columns | None = None) -> str:
    """State the format of a file by its first bytes (`HEAD_BYTES` of them); the name is for the message only.

    columns: what the caller says of the columns, by which a CSV or TSV with unusual names is recognised.
    Raises InvalidInputError, naming the accepted formats, for anything else.
    """
    for spec in table.FORMATS:
        if spec.reader is not None and _load(spec).matches(head, columns or Columns()):
            return spec.name
    if _names_paths(head):
        raise InvalidInputError(LOCAL_PATHS)
    if not head:
        what = repr(name) if name else "the file"
        raise InvalidInputError(f"{what} is empty; write it again, then send it")
    start = f"{name!r} begins" if name else "the file begins"
    hint = ARROW if head.startswith(_ARROW) else ""
    raise InvalidInputError(
        f"{start} with {head[:16]!r} and is none of the accepted formats: "
        "a tar (plain, .gz or .zst) or a zip of images (.jpg, .png, .webp) and captions (.txt of the "
        "same names, metadata.jsonl, metadata.csv or COCO captions), Parquet with images or URLs, "
        f"CSV or TSV (separator comma, semicolon, bar or tab) with URLs and captions{hint}"
    )


def detect_file_format(file: BinaryIO, columns: Columns) -> str:
    """State the format of an opened file. Raises InvalidInputError as `detect_format` does."""
    file.seek(0)
    name = PurePath(str(getattr(file, "name", ""))).name
    try:
        return detect_format(file.read(HEAD_BYTES), name, columns)
    except InvalidInputError:
        if zipfile.is_zipfile(file):  # with something before it, as in an archive that unpacks itself
            return "zip"
        raise


def _load(spec: table.FormatSpec) -> Reader:
    reader: Reader = import_module(f"cocu.formats.{spec.reader}").READERS[spec.name]
    return reader


def _names_paths(head: bytes) -> bool:
    """Whether it is a table of images' paths."""
    whole = len(head) < HEAD_BYTES
    dialect = find_dialect(head, whole=whole)
    rows = [] if dialect is None else [row.cells for row in first_rows(head, dialect, whole=whole)]
    return any(looks_like_path(cell) for cells in rows[:2] for cell in cells)
