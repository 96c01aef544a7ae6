"""Parquet with a picture in every row, as img2dataset and Hugging Face write it; or with URLs.

Read a row at a time: Arrow then decodes page by page, and a value that a dictionary repeats a million times
is in memory once. So memory holds a page of every column that is read (they are as large as the writer made
them) and one row, and what rows unpack to is counted against the size of the file.
"""

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
from cocu.datasets.metadata import row_metadata
from cocu.datasets.options import ReadOptions
from cocu.datasets.pairs import Link, Pair, choose_captions, clean_captions, content_key, row_key
from cocu.datasets.parquet_pages import check_pages
from cocu.datasets.rejections import Reason, Rejection, printable
from cocu.datasets.tars import UNSUSPICIOUS
from cocu.errors import InvalidInputError

_MOST_COLUMNS = 1_000
_MOST_METADATA_COLUMNS = 64
_DEEPEST_SCHEMA = 16
_BUFFER = 1 << 20
_ARROW_ERRORS = (pa.ArrowException, OSError, ValueError)

Item = Pair | Link | Rejection


@dataclass(frozen=True)
class Table:
    """An opened Parquet file. columns: those used. path: the column of pictures' names, "" without one."""

    source: BinaryIO
    file: pq.ParquetFile
    columns: Columns
    path: str
    status: str
    others: tuple[str, ...]


def open_parquet(file: BinaryIO, options: ReadOptions) -> Table:
    """Read schema and footer. Raises InvalidInputError for a damaged file, or if columns are lacking."""
    try:
        opened = pq.ParquetFile(
            file,
            buffer_size=_BUFFER,
            pre_buffer=False,
            schema_depth_limit=_DEEPEST_SCHEMA,
            arrow_extensions_enabled=False,
        )
        schema = opened.schema_arrow
    except _ARROW_ERRORS as error:
        raise InvalidInputError(f"this Parquet file cannot be opened: {printable(str(error))}") from error
    if len(schema) > _MOST_COLUMNS:
        raise InvalidInputError(f"{len(schema)} columns; at most {_MOST_COLUMNS} are read")
    return _with_roles(file, opened, schema, options.columns)


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
        for group in range(table.file.num_row_groups):
            rows.check_group(group)
            for batch in table.file.iter_batches(1, [group], rows.leaves, use_threads=False):
                yield from rows.items(batch)
    except ArchiveEndsError as end:
        yield Rejection(None, "", end.reason, end.detail)
    except _ARROW_ERRORS as error:
        yield Rejection(None, "", Reason.CORRUPT_ARCHIVE, f"after {rows.number} rows: {error}")
    else:
        if rows.number == 0:
            yield Rejection(None, "", Reason.NO_SAMPLES, "the table has no rows")


def _with_roles(source: BinaryIO, file: pq.ParquetFile, schema: pa.Schema, asked: Columns) -> Table:
    texts = [field.name for field in schema if _is_text(field.type)]
    pictures = [field.name for field in schema if _is_picture(field.type)]
    structs = [name for name in pictures if pa.types.is_struct(schema.field(name).type)]
    keys = [field.name for field in schema if _is_text(field.type) or pa.types.is_integer(field.type)]
    captions = [field.name for field in schema if _is_text(field.type) or _is_texts(field.type)]
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
    used = {columns.image, columns.caption, columns.key}
    plain = [field.name for field in schema if _is_plain(field.type) and schema.names.count(field.name) == 1]
    others = [name for name in plain if name not in used and "." not in name]
    return Table(
        source,
        file,
        columns,
        path=f"{columns.image}.path" if has_path else "",
        status="status" if "status" in texts and image is not None else "",
        others=tuple(others[:_MOST_METADATA_COLUMNS]),
    )


class _Rows:
    """Makes items of batches of one row, and counts what they take."""

    def __init__(self, table: Table, size: int, limits: Limits, options: ReadOptions) -> None:
        self.number = 0
        self._used = 0
        self._allowed = max(UNSUSPICIOUS, int(limits.max_compression_ratio * size))
        self._table = table
        self._limits = limits
        self._options = options
        columns = table.columns
        schema = table.file.schema_arrow
        nested = columns.image is not None and pa.types.is_struct(schema.field(columns.image).type)
        image = f"{columns.image}.bytes" if nested else columns.image
        named = (image, table.path, columns.caption, columns.key, columns.url, table.status, *table.others)
        self.leaves = list(dict.fromkeys(name for name in named if name))

    def check_group(self, group: int) -> None:
        """Refuses a row group whose pages would unpack to too much. Raises ArchiveEndsError."""
        metadata = self._table.file.metadata.row_group(group)
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            if any(f"{column.path_in_schema}.".startswith(f"{leaf}.") for leaf in self.leaves):
                check_pages(self._table.source, column, self._limits)

    def items(self, batch: pa.RecordBatch) -> Iterator[Item]:
        """What the next row comes to. Raises ArchiveEndsError beyond a limit."""
        member = f"row {self.number}"
        self._count(batch)
        columns = self._table.columns
        captions = clean_captions(_texts(_cell(batch, columns.caption), self._limits), self._limits)
        image = _cell(batch, columns.image)
        path = ""
        if isinstance(image, pa.StructScalar):
            path = _text(image["path"]) if self._table.path and image.is_valid else ""
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

    def _count(self, batch: pa.RecordBatch) -> None:
        self.number += 1
        self._used += sum(_size(batch.column(index)[0]) for index in range(batch.num_columns))
        if self.number > self._limits.max_rows:
            raise ArchiveEndsError(
                Reason.TOO_MANY_ROWS, f"more than {self._limits.max_rows} rows; send the rest in other files"
            )
        if self._used > self._limits.max_decompressed_bytes:
            detail = f"more than {self._limits.max_decompressed_bytes} bytes"
            raise ArchiveEndsError(Reason.DECOMPRESSED_TOO_LARGE, detail)
        if self._used > self._allowed:
            detail = f"more than {self._limits.max_compression_ratio:g} times its size"
            raise ArchiveEndsError(Reason.COMPRESSION_RATIO, detail)

    def _chosen(
        self, batch: pa.RecordBatch, key: str, member: str, data: bytes | None, captions: list[str]
    ) -> Iterator[Item]:
        plain = {name: _plain(_cell(batch, name)) for name in self._table.others}
        metadata = row_metadata(plain, self._limits)
        url = _text(_cell(batch, self._table.columns.url))
        for chosen, caption in choose_captions(key, captions, self._options.captions):
            if data is not None:
                yield Pair(chosen, member, data, caption, metadata)
            elif url:
                yield Link(chosen, url, caption, metadata)
            else:
                yield Rejection(chosen, member, Reason.BAD_ROW, "no URL")

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
            return row_key(_text(_cell(batch, columns.key)), member, self._limits)
        if path.strip():
            return row_key(path.rpartition(".")[0] or path, member, self._limits)
        stated = captions if isinstance(captions, list) else []
        return content_key(data or _text(_cell(batch, columns.url)), *stated)

    def _without_image(self, batch: pa.RecordBatch, key: str, path: str, member: str) -> Rejection:
        status = _text(_cell(batch, self._table.status))
        if status and status != "success":
            return Rejection(key, member, Reason.NOT_DOWNLOADED, f"status {status!r}")
        detail = f"the bytes are null; only a path, {path!r}, is given" if path else "the image is null"
        return Rejection(key, member, Reason.MISSING_IMAGE, detail)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_texts(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and _is_text(kind.value_type))


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind)


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _cell(batch: pa.RecordBatch, name: str | None) -> Any:
    """The scalar of a column in a batch of one row; None for no column or null."""
    if not name:
        return None
    scalar = batch.column(name)[0]
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    return scalar if scalar.is_valid else None


def _size(scalar: Any) -> int:
    """The bytes of a scalar; of one out of a dictionary, its own."""
    if not scalar.is_valid:
        return 0
    if isinstance(scalar, pa.DictionaryScalar):
        return _size(scalar.value)
    if isinstance(scalar, pa.StructScalar):
        return sum(_size(each) for each in scalar.values())
    if isinstance(scalar, pa.ListScalar):
        return int(scalar.values.nbytes)
    return int(scalar.as_buffer().size) if hasattr(scalar, "as_buffer") else 8


def _raw(scalar: Any) -> bytes | str:
    """Text as the file has it: Arrow does not look whether it is UTF-8."""
    buffer = scalar.as_buffer() if hasattr(scalar, "as_buffer") else None
    return str(scalar.as_py()) if buffer is None else buffer.to_pybytes()


def _text(scalar: Any) -> str:
    if scalar is None or not scalar.is_valid:
        return ""
    raw = _raw(scalar)
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")


def _texts(scalar: Any, limits: Limits) -> list[bytes | str]:
    if scalar is None:
        return []
    if not hasattr(scalar, "values"):
        return [_raw(scalar)]
    return [_raw(each) for each in scalar.values[: limits.max_captions] if each.is_valid]


def _plain(scalar: Any) -> object:
    if scalar is None:
        return None
    return _text(scalar) if hasattr(scalar, "as_buffer") else scalar.as_py()
