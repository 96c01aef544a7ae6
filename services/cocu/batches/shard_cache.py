"""A cache of the columns of shards that batches need."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Floats, Ids, Ints
from cocu.curation.ragged import offsets_of
from cocu.curation.randomness import Seeds, key_hashes
from cocu.curation.sampling import named_by_caption
from cocu.errors import IntegrityError
from cocu.platform import Platform
from cocu.storage import paths, tables

CACHE_BYTES = 256 << 20
"""Bytes that all streams of a process share; about 70 shards of 10,000 samples."""

_CONCEPT = "concepts.list.element"


@dataclass(frozen=True)
class ArchiveColumns:
    """The archives of N samples with C concepts in all, as far as draws need them."""

    offsets_N1: Ids
    concepts_C: Ints
    scores_C: Floats
    clusters_C: Ints
    named_C: NDArray[np.bool_]
    """Whether the sample's own caption names the concept, bool [C]."""


@dataclass(frozen=True)
class ShardColumns:
    """The samples of a shard and their archives; the offsets of the images in its tar, their SHA-256, and the
    size of the tar."""

    keys: pa.Array
    key_hashes_N: Seeds
    captions: pa.Array
    image_offsets_N: Ids
    image_sizes_N: Ids
    image_hashes_N: pa.Array
    archives: ArchiveColumns
    tar_bytes: int

    @property
    def nbytes(self) -> int:
        """The bytes that the columns take in memory."""
        samples = (
            self.keys,
            self.key_hashes_N,
            self.captions,
            self.image_offsets_N,
            self.image_sizes_N,
            self.image_hashes_N,
        )
        return sum(int(array.nbytes) for array in (*samples, *vars(self.archives).values()))


def read_columns(platform: Platform, record: CurationRecord, shard: CurationShardRecord) -> ShardColumns:
    """Read a shard without its images. If the curation has no archives of the shard, they are empty.

    Raises NotFoundError, IntegrityError.
    """
    path = paths.samples(record.dataset_id, shard.shard_id)
    columns = ["key", "caption", "offset", "size", "sha256"]
    samples = tables.read_table(platform.objects, path, columns=columns)
    if samples.num_rows != shard.samples:
        raise IntegrityError(f"{path} has {samples.num_rows} rows, not {shard.samples}")
    keys = _only_chunk(samples["key"])
    return ShardColumns(
        keys=keys,
        key_hashes_N=key_hashes(keys.to_pylist()),
        captions=_only_chunk(samples["caption"]),
        image_offsets_N=samples["offset"].to_numpy().astype(np.int64),
        image_sizes_N=samples["size"].to_numpy().astype(np.int64),
        image_hashes_N=_only_chunk(samples["sha256"]),
        archives=_archives(platform, record, shard),
        # Requested once, not for every read of images.
        tar_bytes=platform.objects.size(paths.shard(record.dataset_id, shard.shard_id)),
    )


def _archives(platform: Platform, record: CurationRecord, shard: CurationShardRecord) -> ArchiveColumns:
    if shard.content_hash is None:
        nothing = np.empty(0, np.int32)
        offsets_N1 = np.zeros(shard.samples + 1, np.int64)
        return ArchiveColumns(offsets_N1, nothing, np.empty(0, np.float32), nothing, np.empty(0, bool))
    path = paths.archives(record.id, shard.shard_id)
    columns = [f"{_CONCEPT}.{name}" for name in ("concept", "score", "cluster", "origins.list.element")]
    table = tables.read_table(platform.objects, path, columns=columns, content_hash=shard.content_hash)
    if table.num_rows != shard.samples:
        raise IntegrityError(f"{path} has {table.num_rows} rows, not {shard.samples}")
    lists = _only_chunk(table["concepts"])
    concepts = lists.flatten()
    names = platform.vocabularies.of_hash(record.vocabulary_hash).names
    origins = concepts.field("origins")
    ids = pc.index_in(concepts.field("concept"), pa.array(names, pa.string()))
    if ids.null_count:
        raise IntegrityError(f"{path} names concepts that the vocabulary of its curation does not have")
    # Copied, because a view would keep the whole table with its strings in memory.
    return ArchiveColumns(
        offsets_N1=offsets_of(pc.list_value_length(lists).to_numpy()),
        concepts_C=ids.to_numpy().astype(np.int32),
        scores_C=concepts.field("score").to_numpy().copy(),
        clusters_C=concepts.field("cluster").to_numpy().copy(),
        named_C=named_by_caption(np.asarray(origins.offsets), origins.values.to_numpy()),
    )


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


class ColumnsCache:
    """An LRU cache of shards for all streams: the ranks of one trainer read the same shards at a time."""

    def __init__(self, platform: Platform, *, max_bytes: int = CACHE_BYTES) -> None:
        self._platform = platform
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str, str | None], ShardColumns] = OrderedDict()
        self._names: tuple[str, pa.Array] = ("", pa.array([], pa.string()))

    def columns(self, record: CurationRecord, shard: CurationShardRecord) -> ShardColumns:
        """Return the columns of a shard. Raises NotFoundError, IntegrityError."""
        cache_key = (record.id, shard.shard_id, shard.content_hash)
        with self._lock:
            if cache_key in self._entries:
                self._entries.move_to_end(cache_key)
                return self._entries[cache_key]
        # Read without the lock, so that streams of other shards need not wait. Two streams may then read the
        # same shard; the results are equal.
        columns = read_columns(self._platform, record, shard)
        with self._lock:
            self._entries[cache_key] = columns
            while (
                sum(columns_of_shard.nbytes for columns_of_shard in self._entries.values()) > self._max_bytes
                and len(self._entries) > 1
            ):
                self._entries.popitem(last=False)
        return columns

    def names(self, record: CurationRecord) -> pa.Array:
        """Return the names of a curation's vocabulary by id; the names used last are cached."""
        hash, names = self._names
        if hash != record.vocabulary_hash:
            names = pa.array(self._platform.vocabularies.of_hash(record.vocabulary_hash).names, pa.string())
            self._names = record.vocabulary_hash, names
        return names
