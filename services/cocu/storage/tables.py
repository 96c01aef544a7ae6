"""Parquet tables of samples and of archives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cocu import machine
from cocu.curation.archives import NO_NEIGHBOUR, Archives, Ids, Ints
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage import checksums
from cocu.storage.content_hash import content_hash as hash_of_content
from cocu.storage.objects import ObjectStore


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(_required("item", kind))


SAMPLES = pa.schema(
    [
        _required("key", pa.string()),
        _required("caption", pa.string()),
        _required("offset", pa.int64()),
        _required("size", pa.int64()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        _required("sha256", pa.binary(32)),
    ]
)
"""A row per sample of a shard; offset and size locate the image's bytes in the shard's tar.

A sample that was uploaded as an embedding, without its image, has size, offset, width and height 0, and the
sha256 of the embedding.
"""

CONCEPT = pa.struct(
    [
        _required("concept", pa.string()),
        _required("score", pa.float32()),
        _required("global", pa.float32()),
        _required("local", pa.float32()),
        _required("cluster", pa.int32()),
        _required("origins", _list_of(pa.int32())),
    ]
)

ARCHIVES = pa.schema(
    [
        _required("key", pa.string()),
        _required("neighbours", _list_of(pa.int64())),
        _required("neighbour_similarities", _list_of(pa.float32())),
        _required("concepts", _list_of(CONCEPT)),
    ]
)
"""A row per sample of a shard: its neighbours (global rows of the snapshot, nearest first) and its archive,
best concept first. Origins are positions in `neighbours`, OWN_CAPTION (-1) for the sample's own caption."""


class SampleColumns(Protocol):
    """What a row of the samples table is made of (`formats.shards.SampleRow` is one)."""

    key: str
    caption: str
    offset: int
    size: int
    width: int
    height: int
    sha256: bytes


def samples_table(rows: Sequence[Any]) -> pa.Table:
    """A table of schema SAMPLES from rows with the attributes of `SampleColumns`."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SAMPLES]
    return pa.Table.from_arrays(columns, schema=SAMPLES)


def archives_table(
    archives: Archives,
    *,
    keys: Sequence[str],
    names: Sequence[str],
    neighbours_BL: Ids,
    neighbour_similarities_BL: NDArray[np.floating[Any]],
) -> pa.Table:
    """A table of schema ARCHIVES: a row per image, in order.

    keys: of the B images. names: of the vocabulary's concepts, by id. NO_NEIGHBOUR pads, at the ends of
    rows, are left out. Raises ValueError where the parts differ in length or a pad is not at the end.
    """
    count = len(keys)
    if not count == len(archives.offsets_B1) - 1 == len(neighbours_BL) == len(neighbour_similarities_BL):
        raise ValueError(
            f"{count} keys, {len(archives.offsets_B1) - 1} archives, {len(neighbours_BL)} rows of neighbours "
            f"and {len(neighbour_similarities_BL)} of similarities do not belong together"
        )
    present_BL = neighbours_BL != NO_NEIGHBOUR
    if (present_BL[:, 1:] & ~present_BL[:, :-1]).any():
        raise ValueError("NO_NEIGHBOUR may only fill the ends of rows: origins count from their start")
    neighbour_offsets = np.concatenate([[0], np.cumsum(present_BL.sum(axis=1))])
    concepts = pa.StructArray.from_arrays(
        [
            pa.array(names, pa.string()).take(pa.array(archives.concepts_C)),
            pa.array(archives.scores_C, pa.float32()),
            pa.array(archives.global_C, pa.float32()),
            pa.array(archives.local_C, pa.float32()),
            pa.array(archives.clusters_C, pa.int32()),
            _lists(archives.origin_offsets_C1, pa.array(archives.origins_O, pa.int32())),
        ],
        fields=list(CONCEPT),
    )
    columns = [
        pa.array(keys, pa.string()),
        _lists(neighbour_offsets, pa.array(neighbours_BL[present_BL], pa.int64())),
        _lists(neighbour_offsets, pa.array(neighbour_similarities_BL[present_BL].astype(np.float32))),
        _lists(archives.offsets_B1, concepts),
    ]
    return pa.Table.from_arrays(columns, schema=ARCHIVES)


def archives_of(table: pa.Table, names: Sequence[str]) -> Archives:
    """The arrays of an archives table; `names` as for `archives_table`.

    Raises IntegrityError for a concept that is not among the names: another vocabulary wrote the table.
    """
    lists = table.column("concepts").combine_chunks()
    concepts = lists.flatten()
    ids = pc.index_in(concepts.field("concept"), pa.array(names, pa.string()))
    if ids.null_count:
        unknown = concepts.field("concept").filter(ids.is_null())[0]
        raise IntegrityError(f"concept {unknown.as_py()!r} of the archives is not in the vocabulary")
    origins = concepts.field("origins")
    return Archives(
        offsets_B1=_offsets(lists),
        concepts_C=ids.to_numpy(zero_copy_only=False).astype(np.int32),
        scores_C=concepts.field("score").to_numpy(),
        global_C=concepts.field("global").to_numpy(),
        local_C=concepts.field("local").to_numpy(),
        clusters_C=concepts.field("cluster").to_numpy(),
        origin_offsets_C1=_offsets(origins),
        origins_O=origins.flatten().to_numpy(),
    )


def read_clusters(objects: ObjectStore, path: str, *, content_hash: str) -> Ints:
    """The cluster of every concept of an archives table, int32 [C], in the order of `archives_of`.

    Reads this column alone: a few milliseconds for 10,000 archives. Raises as `read_table`.
    """
    table = read_table(objects, path, columns=["concepts.list.element.cluster"], content_hash=content_hash)
    clusters = table.column("concepts").combine_chunks().flatten().field("cluster")
    return np.array(clusters.to_numpy(), np.int32)


def write_table(objects: ObjectStore, path: str, table: pa.Table, *, row_group: int = 128) -> None:
    """Write a table as Parquet, in row groups small enough that one row is read quickly."""
    with objects.writing(path) as file:
        pq.write_table(
            table,
            file,
            row_group_size=row_group,
            compression="zstd",
            write_statistics=False,
            write_page_checksum=True,
        )
        checksums.add(file, checksums.PARQUET)


def read_table(
    objects: ObjectStore,
    path: str,
    *,
    columns: Sequence[str] | None = None,
    content_hash: str | None = None,
) -> pa.Table:
    """Read a table, or some of its columns. Raises NotFoundError, IntegrityError.

    content_hash: the known hash of the values of the whole table; a file without a checksum is compared
    with it.
    """
    with _opened(objects, path, content_hash=content_hash) as file:
        return file.read(columns=None if columns is None else list(columns))


Layout: TypeAlias = pq.FileMetaData
"""The metadata of a table's file; pass it to `read_row` to read many rows of one file quickly."""


def read_layout(objects: ObjectStore, path: str, *, content_hash: str | None = None) -> Layout:
    """The layout of a table's file; content_hash as for `read_table`.

    Raises NotFoundError, IntegrityError.
    """
    with _opened(objects, path, content_hash=content_hash) as file:
        return file.metadata


def read_row(
    objects: ObjectStore,
    path: str,
    row: int,
    *,
    columns: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> Mapping[str, Any]:
    """One row as Python values, reading no more than its row group. Raises NotFoundError beyond the table.

    layout: of this same file, which is then not read again.
    """
    with _opened(objects, path, layout) as file:
        if not 0 <= row < file.metadata.num_rows:
            raise NotFoundError(f"{path} has {file.metadata.num_rows} rows; there is no row {row}")
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                # A few kilobytes: passing them to other threads takes longer than decoding them.
                piece = file.read_row_group(
                    group, columns=None if columns is None else list(columns), use_threads=False
                )
                values: dict[str, Any] = piece.slice(row, 1).to_pylist()[0]
                return values
            row -= rows
    raise IntegrityError(f"the row groups of {path} do not add up to its rows")


@contextmanager
def _opened(
    objects: ObjectStore, path: str, layout: Layout | None = None, *, content_hash: str | None = None
) -> Iterator[pq.ParquetFile]:
    local, has_checksum = checksums.verify(objects, path, checksums.PARQUET)
    try:
        if not has_checksum and content_hash is not None:
            _check_content(local, path, content_hash)
        with pq.ParquetFile(
            str(local), metadata=layout, memory_map=True, page_checksum_verification=True
        ) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        machine.raise_machine_error(error, f"read object {path}")
        raise checksums.damaged(path, f"it is not a readable table ({_first_line(error)})") from error


def require_content(table: pa.Table, path: str, expected: str) -> None:
    """Check that the values of a whole table have this hash. Raises IntegrityError."""
    actual = hash_of_content(table)
    if actual != expected:
        raise checksums.damaged(path, f"its content has the hash {actual[:16]}…, not {expected[:16]}…")


@lru_cache(maxsize=4096)
def _content_of(local: Path, identity: checksums.Identity) -> str:
    return hash_of_content(pq.read_table(str(local), memory_map=True))


def _check_content(local: Path, path: str, expected: str) -> None:
    actual = _content_of(local, checksums.identity(local))
    if actual != expected:
        raise checksums.damaged(path, f"its content has the hash {actual[:16]}…, not {expected[:16]}…")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _lists(offsets: NDArray[Any], values: pa.Array) -> pa.Array:
    kind = _list_of(values.type)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def _offsets(lists: pa.Array) -> Ids:
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
