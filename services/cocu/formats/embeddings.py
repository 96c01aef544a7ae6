"""Embeddings that somebody made already, in the layout of clip-retrieval.

    img_emb/img_emb_0.npy, …         float16 or float32 [n, D], a row per image
    metadata/metadata_0.parquet, …   image_path, caption, and what else is known; as many rows, so ordered
    text_emb/…                       not read

Files belong together by the number at the end of their names, and rows by their place; nothing else in them
says so. Therefore everything is counted before the first row is used, and what does not agree is refused as a
whole: captions that are off by one would be worse than none. Keys come from the metadata, never from places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from cocu import machine
from cocu.errors import InvalidInputError
from cocu.formats.archive import ArchiveEndsError, Member, Members, UnreadableMemberError
from cocu.formats.captions import BadCaption
from cocu.formats.columns import CAPTION, KEY, Columns, pick
from cocu.formats.limits import UNSUSPICIOUS, Limits
from cocu.formats.metadata import row_metadata
from cocu.formats.options import ReadOptions
from cocu.formats.parquet_cells import cell, is_plain, is_text, is_texts, plain_of, text_of, texts_of
from cocu.formats.parquet_rows import ARROW_ERRORS, CountedRows, open_table
from cocu.formats.records import EmbeddingText, choose_captions, clean_captions, row_key
from cocu.formats.rejections import Reason, Rejection, printable

PATH = "image_path"
"""The column of clip-retrieval's own: the key of a WebDataset, or the path of a file."""

UNIT = 1e-3
"""How far from 1 a norm may be to count as 1: float16 knows no unit vector more exactly."""

_VECTORS = re.compile(r"(?:(.*)/)?img_emb/[^/]*?(\d+)\.npy")
_TABLES = re.compile(r"(?:(.*)/)?metadata/[^/]*?(\d+)\.parquet")
_IMAGE_ENDING = re.compile(r"\.(jpe?g|png|webp|bmp|gif|tiff?)$", re.IGNORECASE)
_MOST_TIMES = 16
"""How many times its size an archive may unpack to: numbers such as these hardly compress."""
_BLOCK = 1024
_MOST_OTHERS = 64

_Name = tuple[str, int]


def table_of(vectors: str) -> str | None:
    """Path or URL of the metadata that belong to embeddings; None for what is not called as they are.

    >>> table_of("s3://laion/img_emb/img_emb_0012.npy")
    's3://laion/metadata/metadata_0012.parquet'
    >>> table_of("s3://laion/text_emb/text_emb_0012.npy")
    """
    match = re.fullmatch(r"(.*/|)img_emb/([^/]*?)(\d+)\.npy", vectors)
    if match is None:
        return None
    folder, stem, number = match.groups()
    return f"{folder}metadata/{stem.replace('img_emb', 'metadata')}{number}.parquet"


@dataclass(frozen=True)
class _File:
    """A member by its name in the archive, and where it was unpacked to."""

    member: str
    path: Path


@dataclass(frozen=True)
class _Table:
    """The columns of a metadata file, and how many rows it has."""

    file: _File
    columns: Columns
    key_is_path: bool
    others: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class _Part:
    """Embeddings and the table that belongs to them, checked to have as many rows."""

    vectors: _File
    table: _Table


@dataclass(frozen=True)
class ReadyEmbeddings:
    """The parts of an archive, in the order of their numbers. columns: of the first table."""

    columns: Columns
    _parts: tuple[_Part, ...]
    _options: ReadOptions
    _limits: Limits

    @classmethod
    def unpacked(
        cls,
        members: Members,
        folder: Path,
        *,
        size: int | None,
        dimensions: int | None,
        options: ReadOptions,
        limits: Limits,
    ) -> Self:
        """Unpack what is needed of an archive into a folder, and check that it belongs together.

        size: bytes of the archive, None for loose files. dimensions: D. Raises InvalidInputError for anything
        that is damaged, missing, or of another number of rows or dimensions than it should be.
        """
        allowed = limits.max_decompressed_bytes
        if size is not None:
            allowed = min(allowed, max(UNSUSPICIOUS, _MOST_TIMES * size))
        vectors, tables = _unpack(members, folder, allowed)
        if not vectors:
            raise InvalidInputError(
                "there is no img_emb/*.npy in it, and the option encoder says that there are embeddings"
            )
        if vectors.keys() != tables.keys():
            alone = min(vectors.keys() ^ tables.keys())
            file = vectors.get(alone) or tables[alone]
            raise InvalidInputError(
                f"{printable(file.member)} stands alone: for every img_emb/*.npy there must be the "
                "metadata/*.parquet of the same number, and the reverse"
            )
        parts = tuple(
            _part(vectors[name], tables[name], dimensions, options, limits) for name in sorted(vectors)
        )
        return cls(parts[0].table.columns, parts, options, limits)

    def items(self) -> Iterator[EmbeddingText | Rejection]:
        """Yield what every row comes to, once. Raises InvalidInputError where a table turns out damaged."""
        for part in self._parts:
            try:
                yield from _items(part, self._options, self._limits)
            except ArchiveEndsError as end:
                raise InvalidInputError(f"{printable(part.table.file.member)}: {end.detail}") from end
            except ARROW_ERRORS as error:
                machine.raise_machine_error(error, "read a table")
                detail = printable(str(error))
                raise InvalidInputError(
                    f"{printable(part.table.file.member)} is damaged: {detail}"
                ) from error


def _unpack(members: Members, folder: Path, allowed: int) -> tuple[dict[_Name, _File], dict[_Name, _File]]:
    by_kind: tuple[dict[_Name, _File], dict[_Name, _File]] = ({}, {})
    used = 0
    try:
        for member in members:
            if not isinstance(member, Member):
                continue
            for pattern, files in zip((_VECTORS, _TABLES), by_kind, strict=True):
                if match := pattern.fullmatch(member.name):
                    name = match[1] or "", int(match[2])
                    if name in files:
                        raise InvalidInputError(
                            f"{printable(member.name)} has the number of {printable(files[name].member)}"
                        )
                    files[name] = _File(member.name, folder / f"{len(by_kind[0])}-{len(by_kind[1])}")
                    used += member.size
                    if used > allowed:
                        raise InvalidInputError(f"its files are more than {allowed} bytes; send it in parts")
                    _copy(member, files[name].path)
    except ArchiveEndsError as end:
        raise InvalidInputError(f"the tar or zip file cannot be read to its end: {end.detail}") from end
    except UnreadableMemberError as error:
        raise InvalidInputError(f"the tar or zip file cannot be read: {printable(str(error))}") from error
    return by_kind


def _copy(member: Member, target: Path) -> None:
    with target.open("wb") as file:
        for piece in member.pieces():
            file.write(piece)


def _part(
    vectors: _File, table: _File, dimensions: int | None, options: ReadOptions, limits: Limits
) -> _Part:
    rows, width = _matrix(vectors).shape
    if dimensions is not None and width != dimensions:
        raise InvalidInputError(
            f"{printable(vectors.member)} has vectors of {width} dimensions, and encoder {options.encoder!r} "
            f"makes {dimensions}; name the encoder that made them"
        )
    opened = _table(table, options)
    if opened.rows != rows:
        raise InvalidInputError(
            f"{printable(vectors.member)} has {rows} rows and {printable(table.member)} {opened.rows}; "
            "row by row they must be of the same images"
        )
    if rows > limits.max_rows:
        raise InvalidInputError(
            f"{printable(vectors.member)} has {rows} rows; at most {limits.max_rows} are read of a file"
        )
    return _Part(vectors, opened)


def _matrix(file: _File) -> NDArray[np.floating[Any]]:
    """The numbers of a .npy, mapped. Raises InvalidInputError for anything but numbers [N, D]."""
    try:
        with file.path.open("rb") as opened:
            version = npy.read_magic(opened)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(opened)
            start = opened.tell()
    except (ValueError, OSError) as error:
        machine.raise_machine_error(error, f"read {printable(file.member)}")
        raise InvalidInputError(f"{printable(file.member)} is no array: {printable(str(error))}") from error
    if dtype.kind != "f" or dtype.itemsize > 8 or len(shape) != 2 or min(shape) < 1:
        raise InvalidInputError(
            f"{printable(file.member)} holds {dtype} of shape {shape}; not float16 or float32 [n, D]"
        )
    if shape[0] * shape[1] * dtype.itemsize > file.path.stat().st_size - start:
        raise InvalidInputError(f"{printable(file.member)} ends before its {shape[0]} rows do")
    return np.memmap(file.path, dtype, "r", start, shape, "F" if is_fortran else "C")


def _table(file: _File, options: ReadOptions) -> _Table:
    try:
        with file.path.open("rb") as source:
            opened = open_table(source)
            schema, rows = opened.schema_arrow, opened.metadata.num_rows
    except InvalidInputError as error:
        raise InvalidInputError(f"{printable(file.member)}: {error}") from error
    texts = [field.name for field in schema if is_text(field.type) or is_texts(field.type)]
    keys = [field.name for field in schema if is_text(field.type) or pa.types.is_integer(field.type)]
    caption = pick(texts, CAPTION, options.columns.caption)
    key = pick(keys, KEY, options.columns.key) or pick(keys, (PATH,), None)
    if caption is None or key is None:
        known = printable(", ".join(f"{field.name}: {field.type}" for field in list(schema)[:30]))
        lacking = "captions" if caption is None else f"keys ({', '.join(KEY)}, {PATH})"
        raise InvalidInputError(
            f"{printable(file.member)} has no column of {lacking}; there are {known}. Name it in the options"
        )
    plain = [field.name for field in schema if is_plain(field.type) and schema.names.count(field.name) == 1]
    # The key's column stays: a `uid` is also what DataComp's tools know the sample by.
    others = tuple(name for name in plain if name != caption and "." not in name)
    columns = Columns(key=key, caption=caption)
    return _Table(file, columns, key.lower() == PATH, others[:_MOST_OTHERS], rows)


def _items(part: _Part, options: ReadOptions, limits: Limits) -> Iterator[EmbeddingText | Rejection]:
    table, columns = part.table, part.table.columns
    with table.file.path.open("rb") as source:
        leaves = [name for name in (columns.key, columns.caption) if name is not None] + list(table.others)
        size = table.file.path.stat().st_size
        rows = CountedRows(
            open_table(source), list(dict.fromkeys(leaves)), source=source, size=size, limits=limits
        )
        for batch, vector in zip(rows, _unit_vectors(_matrix(part.vectors)), strict=True):
            member = f"{table.file.member}, row {rows.number - 1}"
            yield from _row(batch, vector, member, table, options, limits)


def _row(
    batch: pa.RecordBatch,
    vector: NDArray[np.float16] | None,
    member: str,
    table: _Table,
    options: ReadOptions,
    limits: Limits,
) -> Iterator[EmbeddingText | Rejection]:
    key = _key(text_of(cell(batch, table.columns.key)), member, table, limits)
    captions = clean_captions(texts_of(cell(batch, table.columns.caption), limits), limits)
    if isinstance(key, Rejection):
        yield key
    elif isinstance(captions, BadCaption):
        yield Rejection(key, member, captions.reason, captions.detail)
    elif vector is None:
        yield Rejection(key, member, Reason.BAD_EMBEDDING, "NaN, infinity or nothing but zeros")
    else:
        metadata = row_metadata({name: plain_of(cell(batch, name)) for name in table.others}, limits)
        for chosen, caption in choose_captions(key, captions, options.captions):
            yield EmbeddingText(chosen, member, vector, caption, metadata)


def _key(raw: str, member: str, table: _Table, limits: Limits) -> str | Rejection:
    """The key of a row; of a path all but the ending, since two folders may hold files of one name."""
    if table.key_is_path:
        raw = _IMAGE_ENDING.sub("", raw.strip().replace("\\", "/").lstrip("/"))
    return row_key(raw, member, limits)


def _unit_vectors(matrix_ND: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.float16] | None]:
    """Every row with norm 1 as float16, bit for bit where it has that; None for one without direction."""
    for start in range(0, len(matrix_ND), _BLOCK):
        with np.errstate(over="ignore", invalid="ignore"):
            block_BD = np.asarray(matrix_ND[start : start + _BLOCK], dtype=np.float64)
            norms_B = np.linalg.norm(block_BD, axis=1)
            usable_B = np.isfinite(norms_B) & (norms_B > 0)
            divisors_B = np.where(usable_B & (np.abs(norms_B - 1) > UNIT), norms_B, 1.0)
            units_BD = (block_BD / divisors_B[:, None]).astype(np.float16)
        for usable, unit_D in zip(usable_B.tolist(), units_BD, strict=True):
            yield unit_D if usable else None
