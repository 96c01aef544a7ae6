"""Keys of samples by their global rows; the keys of some shards are cached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cocu.catalog.curations import CurationShardRecord
from cocu.curation.archives import Ids
from cocu.errors import IntegrityError
from cocu.storage import paths, tables
from cocu.storage.objects import ObjectStore

MAX_BYTES = 128 << 20
"""Bytes of cached keys of all exports of a process: about ten million keys of usual length."""


class KeysCache:
    """The keys of the shards used last. Thread-safe."""

    def __init__(self, objects: ObjectStore, *, max_bytes: int = MAX_BYTES) -> None:
        self._objects = objects
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, pa.Array] = OrderedDict()

    def keys(self, dataset: str, shards: Sequence[CurationShardRecord], rows_R: Ids) -> pa.Array:
        """The keys of these rows of a snapshot; each shard is read at most once.

        Raises NotFoundError, IntegrityError.
        """
        firsts = np.array([shard.first_row for shard in shards])
        ascending_U, inverse_R = np.unique(rows_R, return_inverse=True)
        shards_U = np.searchsorted(firsts, ascending_U, side="right") - 1
        keys = [
            self._shard_keys(dataset, shards[index]).take(
                pa.array(ascending_U[shards_U == index] - firsts[index])
            )
            for index in np.unique(shards_U).tolist()
        ]
        return pa.concat_arrays([pa.array([], pa.string()), *keys]).take(pa.array(inverse_R))

    def _shard_keys(self, dataset: str, shard: CurationShardRecord) -> pa.Array:
        path = paths.samples(dataset, shard.shard_id)
        with self._lock:
            if path in self._keys:
                self._keys.move_to_end(path)
                return self._keys[path]
        column = tables.read_table(self._objects, path, columns=["key"])["key"]
        keys = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
        if len(keys) != shard.samples:
            raise IntegrityError(f"{path} has {len(keys)} rows, not {shard.samples}")
        with self._lock:
            self._keys[path] = keys
            while (
                sum(column.nbytes for column in self._keys.values()) > self._max_bytes and len(self._keys) > 1
            ):
                self._keys.popitem(last=False)
        return keys
