"""The samples of a shard with their archives as one table; other samples are named by their keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION, Ids
from cocu.curation.ragged import offsets_of, owners
from cocu.errors import IntegrityError
from cocu.exports.keys import KeysCache
from cocu.platform import Platform
from cocu.storage import paths, tables


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


CONCEPT = pa.struct(
    [
        _required("concept", pa.string()),
        _required("score", pa.float32()),
        _required("global", pa.float32()),
        _required("local", pa.float32()),
        pa.field("cluster", pa.int32()),
        _required("origins", pa.list_(_required("item", pa.string()))),
    ]
)
NEIGHBOUR = pa.struct([_required("key", pa.string()), _required("similarity", pa.float32())])

EXPORTED = pa.schema(
    [
        _required("key", pa.string()),
        _required("caption", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("sha256", pa.string()),
        _required("concepts", pa.list_(_required("item", CONCEPT))),
        _required("neighbours", pa.list_(_required("item", NEIGHBOUR))),
    ]
)
"""One row per sample. The best concepts and the nearest neighbours come first. origins are the keys of the
samples whose captions name the concept, which can be the sample itself. cluster is null in an archive that is
too short to cluster. sha256 is the hash of the image's bytes, in hex; it, width and height are null for a
sample that was uploaded as an embedding, without its image."""

LOCATIONS = pa.schema([_required("offset", pa.int64()), _required("size", pa.int64())])
"""The locations of the images in the shard's tar."""

MAX_ROWS = 128
MAX_BYTES = 16 << 20


def read_rows(
    platform: Platform,
    keys: KeysCache,
    record: CurationRecord,
    shards: tuple[CurationShardRecord, ...],
    shard: CurationShardRecord,
    *,
    max_concepts: int | None,
) -> pa.Table:
    """The columns of EXPORTED and LOCATIONS for a shard; a shard without archives gets empty ones.

    Raises NotFoundError, IntegrityError.
    """
    path = paths.samples(record.dataset_id, shard.shard_id)
    samples = tables.read_table(platform.objects, path).combine_chunks()
    if samples.num_rows != shard.samples:
        raise IntegrityError(f"{path} has {samples.num_rows} rows, not {shard.samples}")
    archives = _archives(platform, record, shard, samples["key"])
    neighbours = _neighbours(archives, keys, record.dataset_id, shards)
    columns = {
        name: _array(samples[name]) for name in ("key", "caption", "width", "height", "offset", "size")
    }
    columns["sha256"] = pa.array([digest.hex() for digest in samples["sha256"].to_pylist()], pa.string())
    has_image = pc.greater(columns["size"], 0)
    for name in ("width", "height", "sha256"):
        columns[name] = pc.if_else(has_image, columns[name], None)
    columns["neighbours"] = neighbours
    columns["concepts"] = _concepts(archives, neighbours, columns["key"], max_concepts)
    schema = pa.schema([*EXPORTED, *LOCATIONS])
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def blocks(table: pa.Table) -> Iterator[pa.Table]:
    """The rows in order, in blocks whose images take at most MAX_BYTES (or are a single image)."""
    sizes = table["size"].to_pylist()
    start = taken = 0
    for row, size in enumerate(sizes):
        if row > start and (row - start >= MAX_ROWS or taken + size > MAX_BYTES):
            yield table.slice(start, row - start)
            start, taken = row, 0
        taken += size
    if start < len(sizes):
        yield table.slice(start)


def _archives(
    platform: Platform, record: CurationRecord, shard: CurationShardRecord, keys: pa.ChunkedArray
) -> pa.Table:
    if shard.content_hash is None:
        empty = pa.nulls(0, tables.ARCHIVES.field("concepts").type.value_type)
        offsets = pa.array(np.zeros(shard.samples + 1, np.int32))
        lists = {
            "key": _array(keys),
            "neighbours": pa.ListArray.from_arrays(offsets, pa.array([], pa.int64())),
            "neighbour_similarities": pa.ListArray.from_arrays(offsets, pa.array([], pa.float32())),
            "concepts": pa.ListArray.from_arrays(offsets, empty),
        }
        return pa.table(lists)
    path = paths.archives(record.id, shard.shard_id)
    table = tables.read_table(platform.objects, path, content_hash=shard.content_hash).combine_chunks()
    if not table["key"].equals(keys):
        raise IntegrityError(f"the archives in {path} are not those of the samples of the shard")
    return table


def _neighbours(
    archives: pa.Table, keys: KeysCache, dataset: str, shards: tuple[CurationShardRecord, ...]
) -> pa.Array:
    lists = _array(archives["neighbours"])
    rows = lists.flatten().to_numpy(zero_copy_only=False)
    neighbour_keys = keys.keys(dataset, shards, rows)
    similarities = _array(archives["neighbour_similarities"]).flatten()
    pairs = pa.StructArray.from_arrays([neighbour_keys, similarities], fields=list(NEIGHBOUR))
    return _lists(_offsets(lists), pairs)


def _concepts(archives: pa.Table, neighbours: pa.Array, keys: pa.Array, limit: int | None) -> pa.Array:
    lists = _array(archives["concepts"])
    offsets_N1 = _offsets(lists)
    concepts = lists.flatten()
    if limit is not None:
        ranks_C = np.arange(len(concepts)) - np.repeat(offsets_N1[:-1], np.diff(offsets_N1))
        concepts = concepts.take(pa.array(np.flatnonzero(ranks_C < limit)))
        offsets_N1 = offsets_of(np.minimum(np.diff(offsets_N1), limit))
    clusters = concepts.field("cluster")
    columns = [concepts.field(name) for name in ("concept", "score", "global", "local")]
    columns.append(pc.if_else(pc.equal(clusters, NO_CLUSTER), pa.scalar(None, pa.int32()), clusters))
    columns.append(_origins(concepts.field("origins"), owners(offsets_N1), neighbours, keys))
    return _lists(offsets_N1, pa.StructArray.from_arrays(columns, fields=list(CONCEPT)))


def _origins(origins: pa.Array, samples_C: Ids, neighbours: pa.Array, keys: pa.Array) -> pa.Array:
    """The keys of origins: the sample's own key, or that of the neighbour at this position."""
    offsets_C1 = _offsets(origins)
    samples_O = samples_C[owners(offsets_C1)]
    positions_O = origins.flatten().to_numpy(zero_copy_only=False)
    all_keys = pa.concat_arrays([neighbours.flatten().field("key"), keys])
    first_own = len(all_keys) - len(keys)
    indices_O = np.where(
        positions_O == OWN_CAPTION, first_own + samples_O, _offsets(neighbours)[samples_O] + positions_O
    )
    return _lists(offsets_C1, all_keys.take(pa.array(indices_O)))


def _offsets(lists: pa.Array) -> Ids:
    return offsets_of(pc.list_value_length(lists).to_numpy(zero_copy_only=False))


def _lists(offsets: Ids, values: pa.Array) -> pa.Array:
    kind = pa.list_(_required("item", values.type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
