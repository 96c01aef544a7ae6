"""Parquet with a picture in every row, as img2dataset and Hugging Face write it; or with URLs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cocu.datasets.captions import BadCaption
from cocu.datasets.columns import CAPTION, IMAGE, KEY, URL, Columns, pick
from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError
from cocu.datasets.metadata import METADATA_MARK, parse_metadata, row_metadata
from cocu.datasets.options import ReadOptions
from cocu.datasets.pairs import Link, Pair, choose_captions, clean_captions, content_key, row_key
from cocu.datasets.parquet_cells import (
    cell,
    is_picture,
    is_plain,
    is_text,
    is_texts,
    plain_of,
    text_of,
    texts_of,
)
from cocu.datasets.parquet_rows import ARROW_ERRORS, CountedRows, open_table
from cocu.datasets.rejections import Reason, Rejection, printable
from cocu.errors import InvalidInputError

_MOST_METADATA_COLUMNS = 64
_METADATA = "metadata"

Item = Pair | Link | Rejection


@dataclass(frozen=True)
class Table:
    """An opened Parquet file. columns: those used. path: the column of pictures' names, "" without one.

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


def parquet_items(table: Table, size: int, limits: Limits, options: ReadOptions) -> Iterator[Item]:
    """Yield a pair or link for every row (or for every caption of it) and rejections.

    size: of the file, in bytes. Rows without an image, which img2dataset writes for what it could not
    download, are rejected. A damaged page, or a limit, ends it with one rejection without a key.
    """
    if table.columns.image is None and not options.fetch:
        detail = "the table has URLs but no images; ask for fetching with fetch=true"
        yield Rejection(None, "", Reason.FETCH_NOT_ASKED, detail)
        return
    rows = _Rows(table, size, limits, options)
    try:
        for batch in rows.counted:
            yield from rows.items(batch)
    except ArchiveEndsError as end:
        yield Rejection(None, "", end.reason, end.detail)
    except ARROW_ERRORS as error:
        yield Rejection(None, "", Reason.CORRUPT_ARCHIVE, f"after {rows.counted.number} rows: {error}")
    else:
        if rows.counted.number == 0:
            yield Rejection(None, "", Reason.NO_SAMPLES, "the table has no rows")


def _with_roles(source: BinaryIO, file: pq.ParquetFile, schema: pa.Schema, asked: Columns) -> Table:
    texts = [field.name for field in schema if is_text(field.type)]
    pictures = [field.name for field in schema if is_picture(field.type)]
    structs = [name for name in pictures if pa.types.is_struct(schema.field(name).type)]
    keys = [field.name for field in schema if is_text(field.type) or pa.types.is_integer(field.type)]
    captions = [field.name for field in schema if is_text(field.type) or is_texts(field.type)]
    columns = Columns(
        key=pick(keys, KEY, asked.key),
        image=pick(pictures, IMAGE, asked.image) or (structs[0] if len(structs) == 1 else None),
        url=pick(texts, URL, asked.url),
        caption=pick(captions, CAPTION, asked.caption),
    )
    if columns.caption is None or (columns.image is None and columns.url is None):
        there = printable(", ".join(f"{field.name}: {field.type}" for field in list(schema)[:30]))
        lacking = "captions" if columns.caption is None else "images (bytes) or URLs"
        raise InvalidInputError(f"no column of {lacking} is known among {there}; name it in the options")
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

    def __init__(self, table: Table, size: int, limits: Limits, options: ReadOptions) -> None:
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

    def items(self, batch: pa.RecordBatch) -> Iterator[Item]:
        """What a row comes to."""
        member = f"row {self.counted.number - 1}"
        columns = self._table.columns
        captions = clean_captions(texts_of(cell(batch, columns.caption), self._limits), self._limits)
        image = cell(batch, columns.image)
        path = ""
        if isinstance(image, pa.StructScalar):
            path = text_of(image["path"]) if self._table.path and image.is_valid else ""
            image = image["bytes"] if image.is_valid else None
        data = None if image is None else image.as_py()
        key = self._key(batch, path, data, captions, member)
        if isinstance(key, Rejection):
            yield key
        elif columns.image is not None and not data:
            yield self._without_image(batch, key, path, member)
        elif isinstance(captions, BadCaption):
            yield Rejection(key, member, captions.reason, captions.detail)
        elif data is not None and len(data) > self._limits.max_image_bytes:
            detail = f"{len(data)} bytes; the limit is {self._limits.max_image_bytes}"
            yield Rejection(key, member, Reason.IMAGE_TOO_LARGE, detail)
        else:
            yield from self._chosen(batch, key, member, data, captions)

    def _chosen(
        self, batch: pa.RecordBatch, key: str, member: str, data: bytes | None, captions: list[str]
    ) -> Iterator[Item]:
        metadata = self._metadata(batch)
        url = text_of(cell(batch, self._table.columns.url))
        for chosen, caption in choose_captions(key, captions, self._options.captions):
            if data is not None:
                yield Pair(chosen, member, data, caption, metadata)
            elif url:
                yield Link(chosen, url, caption, metadata)
            else:
                yield Rejection(chosen, member, Reason.BAD_ROW, "no URL")

    def _metadata(self, batch: pa.RecordBatch) -> dict[str, Any]:
        plain = {name: plain_of(cell(batch, name)) for name in self._table.others}
        text = text_of(cell(batch, self._table.metadata))
        own = parse_metadata(text) if len(text.encode()) <= self._limits.max_metadata_bytes else {}
        if text and not own and not self._table.whole:
            plain[self._table.metadata] = text
        return row_metadata(plain, self._limits) | own

    def _key(
        self,
        batch: pa.RecordBatch,
        path: str,
        data: bytes | None,
        captions: list[str] | BadCaption,
        member: str,
    ) -> str | Rejection:
        columns = self._table.columns
        if columns.key is not None:
            return row_key(text_of(cell(batch, columns.key)), member, self._limits)
        if path.strip():
            return row_key(path.rpartition(".")[0] or path, member, self._limits)
        stated = captions if isinstance(captions, list) else []
        return content_key(data or text_of(cell(batch, columns.url)), *stated)

    def _without_image(self, batch: pa.RecordBatch, key: str, path: str, member: str) -> Rejection:
        status = text_of(cell(batch, self._table.status))
        if status and status != "success":
            return Rejection(key, member, Reason.NOT_DOWNLOADED, f"status {status!r}")
        detail = f"the bytes are null; only a path, {path!r}, is given" if path else "the image is null"
        return Rejection(key, member, Reason.MISSING_IMAGE, detail)
