"""Keys of samples by their global rows, with the keys of some shards kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cocu.curation.archives import Ids
from cocu.errors import IntegrityError
from cocu.storage import paths, tables
from cocu.storage.catalog.curations import CurationShardRecord
from cocu.storage.objects import ObjectStore

ROOM = 128 << 20
"""Bytes of keys that all exports of a process together keep: about ten million keys of usual length."""


class KeysCache:
    """The keys of the shards looked at last."""

    def __init__(self, objects: ObjectStore, *, room: int = ROOM) -> None:
        self._objects = objects
        self._room = room
        self._lock = threading.Lock()
        self._held: OrderedDict[str, pa.Array] = OrderedDict()

    def keys(self, dataset: str, shards: Sequence[CurationShardRecord], rows_R: Ids) -> pa.Array:
        """The keys of these rows of a snapshot; each shard is looked at once.

        Raises NotFoundError, IntegrityError.
        """
        firsts = np.array([shard.first_row for shard in shards])
        ascending_U, inverse_R = np.unique(rows_R, return_inverse=True)
        shards_U = np.searchsorted(firsts, ascending_U, side="right") - 1
        found = [
            self._of_shard(dataset, shards[place]).take(
                pa.array(ascending_U[shards_U == place] - firsts[place])
            )
            for place in np.unique(shards_U).tolist()
        ]
        return pa.concat_arrays([pa.array([], pa.string()), *found]).take(pa.array(inverse_R))

    def _of_shard(self, dataset: str, shard: CurationShardRecord) -> pa.Array:
        path = paths.samples(dataset, shard.shard_id)
        with self._lock:
            if path in self._held:
                self._held.move_to_end(path)
                return self._held[path]
        column = tables.read_table(self._objects, path, columns=["key"])["key"]
        keys = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
        if len(keys) != shard.samples:
            raise IntegrityError(f"{path} has {len(keys)} rows, not {shard.samples}")
        with self._lock:
            self._held[path] = keys
            while sum(each.nbytes for each in self._held.values()) > self._room and len(self._held) > 1:
                self._held.popitem(last=False)
        return keys
