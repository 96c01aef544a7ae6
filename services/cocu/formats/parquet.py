"""Parquet with an image in every row, as img2dataset and Hugging Face write it; or with URLs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cocu import machine
from cocu.errors import InvalidInputError
from cocu.formats.archive import ArchiveEndsError
from cocu.formats.captions import BadCaption
from cocu.formats.columns import CAPTION, IMAGE, KEY, URL, Columns, pick
from cocu.formats.image_metadata import picture_alone
from cocu.formats.limits import Limits
from cocu.formats.metadata import METADATA_MARK, parse_metadata, row_metadata
from cocu.formats.notes import Notes
from cocu.formats.options import ReadOptions
from cocu.formats.parquet_cells import (
    cell,
    holds_images,
    is_plain,
    is_text,
    is_texts,
    number_of_texts,
    plain_of,
    text_of,
    texts_of,
)
from cocu.formats.parquet_rows import ARROW_ERRORS, CountedRows, open_table
from cocu.formats.readers import Reader
from cocu.formats.records import (
    ImageText,
    UrlText,
    choose_captions,
    clean_captions,
    content_key,
    repeated,
    row_key,
)
from cocu.formats.rejections import Reason, Rejection, printable
from cocu.text.encodings import Tally

_MOST_METADATA_COLUMNS = 64
_METADATA = "metadata"

Item = ImageText | UrlText | Rejection


@dataclass(frozen=True)
class Table:
    """An opened Parquet file. columns: those used. path: the column of images' names, "" without one.

    metadata: the column of texts that are JSON objects, "" without one; whole: it is all metadata there is.
    """

    source: BinaryIO
    file: pq.ParquetFile
    columns: Columns
    path: str
    status: str
    others: tuple[str, ...]
    metadata: str
    whole: bool


def open_parquet(file: BinaryIO, options: ReadOptions) -> Table:
    """Read schema and footer. Raises InvalidInputError for a damaged file, or if columns are lacking."""
    opened = open_table(file)
    return _with_roles(file, opened, opened.schema_arrow, options.columns)


def parquet_items(
    table: Table, size: int, limits: Limits, options: ReadOptions, tally: Tally | None = None
) -> Iterator[Item]:
    """Yield a pair or link for every row (or for every caption of it) and rejections.

    size: of the file, in bytes. tally: counts what was guessed or lost of captions.
    Rows without an image, which img2dataset writes for what it could not
    download, are rejected. A damaged page, or a limit, ends it with one rejection without a key.
    """
    if table.columns.image is None and not options.fetch:
        detail = "the table has URLs but no images; ask for fetching with fetch=true"
        yield Rejection(None, "", Reason.FETCH_NOT_ASKED, detail)
        return
    rows = _Rows(table, size, limits, options, tally)
    try:
        rows.find_repeated()
        for batch in rows.counted:
            yield from rows.items(batch)
    except ArchiveEndsError as end:
        yield Rejection(None, "", end.reason, end.detail)
    except ARROW_ERRORS as error:
        machine.raise_machine_error(error, "read a table")
        yield Rejection(None, "", Reason.CORRUPT_ARCHIVE, f"after {rows.counted.number} rows: {error}")
    else:
        if rows.counted.number == 0:
            yield Rejection(None, "", Reason.NO_SAMPLES, "the table has no rows")


def _with_roles(source: BinaryIO, file: pq.ParquetFile, schema: pa.Schema, requested: Columns) -> Table:
    texts = [field.name for field in schema if is_text(field.type)]
    images = [field.name for field in schema if holds_images(field.type)]
    structs = [name for name in images if pa.types.is_struct(schema.field(name).type)]
    keys = [field.name for field in schema if is_text(field.type) or pa.types.is_integer(field.type)]
    captions = [field.name for field in schema if is_text(field.type) or is_texts(field.type)]
    columns = Columns(
        key=pick(keys, KEY, requested.key),
        image=pick(images, IMAGE, requested.image) or (structs[0] if len(structs) == 1 else None),
        url=pick(texts, URL, requested.url),
        caption=pick(captions, CAPTION, requested.caption),
    )
    if columns.caption is None or (columns.image is None and columns.url is None):
        known = printable(", ".join(f"{field.name}: {field.type}" for field in list(schema)[:30]))
        lacking = "captions" if columns.caption is None else "images (bytes) or URLs"
        raise InvalidInputError(f"no column of {lacking} is known among {known}; name it in the options")
    image = None if columns.image is None else schema.field(columns.image).type
    has_path = image is not None and pa.types.is_struct(image) and image.get_field_index("path") >= 0
    marked = (schema.metadata or {}).get(METADATA_MARK, b"").decode("utf-8", "replace")
    roles = {columns.image, columns.caption, columns.key, columns.url}
    metadata = next((name for name in (marked, _METADATA) if name in texts and name not in roles), "")
    whole = metadata != "" and metadata == marked
    used = {columns.image, columns.caption, columns.key, metadata}
    plain = [field.name for field in schema if is_plain(field.type) and schema.names.count(field.name) == 1]
    others = [name for name in plain if name not in used and "." not in name and not whole]
    return Table(
        source,
        file,
        columns,
        path=f"{columns.image}.path" if has_path else "",
        status="status" if "status" in texts and image is not None else "",
        others=tuple(others[:_MOST_METADATA_COLUMNS]),
        metadata=metadata if schema.names.count(metadata) == 1 else "",
        whole=whole,
    )


class _Rows:
    """Makes items of the rows of a table."""

    def __init__(
        self, table: Table, size: int, limits: Limits, options: ReadOptions, tally: Tally | None = None
    ) -> None:
        self._tally = tally
        self._table = table
        self._limits = limits
        self._options = options
        columns = table.columns
        schema = table.file.schema_arrow
        nested = columns.image is not None and pa.types.is_struct(schema.field(columns.image).type)
        image = f"{columns.image}.bytes" if nested else columns.image
        named = [image, table.path, columns.caption, columns.key, columns.url, table.status]
        named += [*table.others, table.metadata]
        leaves = list(dict.fromkeys(name for name in named if name))
        self.counted = CountedRows(table.file, leaves, source=table.source, size=size, limits=limits)
        self._size = size
        self._repeated: frozenset[int] = frozenset()

    def find_repeated(self) -> None:
        """Look through the column of keys for those that several rows have, which then identify none."""
        name = self._table.columns.key or self._table.path
        if name:
            table = self._table
            rows = CountedRows(table.file, [name], source=table.source, size=self._size, limits=self._limits)
            self._repeated = repeated(self._own_keys(rows))

    def items(self, batch: pa.RecordBatch) -> Iterator[Item]:
        """What a row comes to."""
        member = f"row {self.counted.number - 1}"
        columns = self._table.columns
        stated = cell(batch, columns.caption)
        captions = clean_captions(texts_of(stated, self._limits), self._limits, self._tally)
        image = cell(batch, columns.image)
        path = ""
        if isinstance(image, pa.StructScalar):
            path = text_of(image["path"]) if self._table.path and image.is_valid else ""
            image = image["bytes"] if image.is_valid else None
        data = None if image is None else image.as_py()
        if data is not None and len(data) > self._limits.max_image_bytes:
            data = picture_alone([data], most_bytes=self._limits.max_image_bytes) or data
        key = self._key(batch, data, captions)
        if columns.image is not None and not data:
            yield self._without_image(batch, key, path, member)
        elif isinstance(captions, BadCaption):
            yield Rejection(key, member, captions.reason, captions.detail)
        elif data is not None and len(data) > self._limits.max_image_bytes:
            detail = f"{len(data)} bytes; the limit is {self._limits.max_image_bytes}"
            yield Rejection(key, member, Reason.IMAGE_TOO_LARGE, detail)
        else:
            if number_of_texts(stated) > self._limits.max_captions:
                detail = f"{number_of_texts(stated)} captions; the first {self._limits.max_captions} are used"
                yield Rejection(key, member, Reason.TOO_MANY_CAPTIONS, detail)
            yield from self._chosen(batch, key, member, data, captions)

    def _chosen(
        self, batch: pa.RecordBatch, key: str, member: str, data: bytes | None, captions: list[str]
    ) -> Iterator[Item]:
        metadata = self._metadata(batch)
        url = text_of(cell(batch, self._table.columns.url))
        for chosen, caption in choose_captions(key, captions, self._options.captions):
            if data is not None:
                yield ImageText(chosen, member, data, caption, metadata)
            elif url:
                yield UrlText(chosen, url, caption, metadata)
            else:
                yield Rejection(chosen, member, Reason.BAD_ROW, "no URL")

    def _metadata(self, batch: pa.RecordBatch) -> dict[str, Any]:
        plain = {name: plain_of(cell(batch, name)) for name in self._table.others}
        text = text_of(cell(batch, self._table.metadata))
        own = parse_metadata(text) if len(text.encode()) <= self._limits.max_metadata_bytes else {}
        if text and not own and not self._table.whole:
            plain[self._table.metadata] = text
        return row_metadata(plain, self._limits) | own

    def _key(self, batch: pa.RecordBatch, data: bytes | None, captions: list[str] | BadCaption) -> str:
        """The row's own key, or one of its content where that is unusable or of several rows."""
        own = self._own_key(batch)
        if own and hash(own) not in self._repeated:
            return own
        stated = captions if isinstance(captions, list) else []
        return content_key(data or text_of(cell(batch, self._table.columns.url)), *stated)

    def _own_keys(self, rows: CountedRows) -> Iterator[str]:
        """The keys of rows as far as they can be read; reading the rows themselves tells where that ends."""
        with suppress(ArchiveEndsError, *ARROW_ERRORS):
            yield from map(self._own_key, rows)

    def _own_key(self, batch: pa.RecordBatch) -> str:
        """What the column of keys says, or the path of the image without ending; "" for nothing usable."""
        columns = self._table.columns
        if columns.key is not None:
            raw = text_of(cell(batch, columns.key))
        else:
            image = cell(batch, columns.image)
            path = text_of(image["path"]) if self._table.path and image is not None else ""
            raw = path.rpartition(".")[0] or path
        key = row_key(raw, "", self._limits)
        return key if isinstance(key, str) else ""

    def _without_image(self, batch: pa.RecordBatch, key: str, path: str, member: str) -> Rejection:
        status = text_of(cell(batch, self._table.status))
        if status and status != "success":
            return Rejection(key, member, Reason.NOT_DOWNLOADED, f"status {status!r}")
        detail = f"the bytes are null; only a path, {path!r}, is given" if path else "the image is null"
        return Rejection(key, member, Reason.MISSING_IMAGE, detail)


def _open(
    file: BinaryIO, *, limits: Limits, options: ReadOptions, notes: Notes
) -> tuple[Columns, Iterator[Item]]:
    table = open_parquet(file, options)
    return table.columns, parquet_items(table, file.seek(0, 2), limits, options, notes.tally)


READERS = {"parquet": Reader(lambda head, columns: head.startswith(b"PAR1"), _open)}
