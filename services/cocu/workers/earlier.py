"""What an earlier curation of the same dataset and encoder saves a later one, and how their lists differ.

The lists of an earlier run are exact, whatever its vocabulary and scoring were; so the later run searches the
shards that are new alone, and its content is that of a run from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR, Ids
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import earlier
from cocu.storage.catalog.curations import CurationShardRecord
from cocu.storage.catalog.earlier import EarlierRun
from cocu.workers.snapshot import Snapshot


@dataclass(frozen=True)
class EarlierLists:
    """The neighbour lists of an earlier run, in the row numbers of a snapshot that holds all its shards."""

    snapshot: Snapshot
    run: EarlierRun

    @classmethod
    def for_search(cls, snapshot: Snapshot, *, count: int) -> Self | None:
        """The run that knows lists of at least `count` rows for the most samples, if there is one."""
        usable = {shard.shard_id for shard in snapshot.shards if shard.usable}
        runs = [
            cls(snapshot, run)
            for run in earlier.completed(snapshot.platform.catalog, curation=snapshot.curation)
            if usable.issuperset(shard.shard_id for shard in run.shards)
        ]
        # Stable: of runs that know as much, the latest.
        runs.sort(key=lambda lists: -lists.run.curation.samples)
        return next((lists for lists in runs if lists.width >= count), None)

    @classmethod
    def for_comparison(cls, snapshot: Snapshot) -> Self | None:
        """The last run of fewer samples that had finished when this one was asked for.

        Its lists were made by the same rules: as many neighbours, and the same threshold for copies.
        """
        own = snapshot.curation
        for run in earlier.completed(snapshot.platform.catalog, curation=own):
            other = run.curation
            if (
                other.finished_at is not None
                and other.finished_at <= own.created_at
                and other.samples < own.samples
                and all(other.parameters.get(name) == own.parameters.get(name) for name in _RULES)
            ):
                return cls(snapshot, run)
        return None

    @property
    def width(self) -> int:
        """K, how many rows its raw lists hold."""
        return int(self._raw(self.run.shards[0]).shape[1])

    @cached_property
    def added(self) -> list[int]:
        """The shards of the snapshot, by position, that the run did not see."""
        return [shard.ordinal for shard in self.snapshot.shards if shard.shard_id not in self._by_id]

    def knows(self, shard: CurationShardRecord) -> bool:
        """Whether the run saw this shard."""
        return shard.shard_id in self._by_id

    def raw(self, shard: CurationShardRecord) -> Ids:
        """The raw lists of a shard's samples [n, K]."""
        return self._present(self._raw(self._by_id[shard.shard_id]))

    def distinct(self, shard: CurationShardRecord, *, count: int) -> Ids:
        """The lists [n, count] that the archives of a shard's samples were made of."""
        path = paths.archives(self.run.curation.id, shard.shard_id)
        table = tables.read_table(self.snapshot.platform.objects, path, columns=["neighbours"])
        return self._present(_padded(table["neighbours"], count))

    @cached_property
    def _by_id(self) -> Mapping[str, CurationShardRecord]:
        return {shard.shard_id: shard for shard in self.run.shards}

    @cached_property
    def _rows(self) -> Ids:
        """The present row of every row of the run; the last answers NO_NEIGHBOUR for itself."""
        present = [self.snapshot.rows(self.snapshot.shard(shard.shard_id)) for shard in self.run.shards]
        return np.concatenate([*present, np.array([NO_NEIGHBOUR])])

    def _present(self, ids: Ids) -> Ids:
        return self._rows[ids]

    def _raw(self, shard: CurationShardRecord) -> Ids:
        found = arrays.read_arrays(
            self.snapshot.platform.objects, paths.neighbours(self.run.curation.id, shard.shard_id)
        )
        return found["ids_NK"].astype(np.int64, copy=False)


def _padded(lists: pa.ChunkedArray, count: int) -> Ids:
    lengths_N = pc.list_value_length(lists).to_numpy()
    ids_NL = np.full((len(lists), count), NO_NEIGHBOUR, np.int64)
    ids_NL[np.arange(count) < lengths_N[:, None]] = pc.list_flatten(lists).to_numpy()
    return ids_NL


_RULES = ("neighbours", "duplicate_similarity")


def note_changes(snapshot: Snapshot, shard: CurationShardRecord, neighbours: pa.ChunkedArray) -> None:
    """Notes which samples of a shard have other lists than in the earlier run; of a new shard all have.

    neighbours: the column of the shard's archives.
    """
    lists = EarlierLists.for_comparison(snapshot)
    if lists is None or not lists.knows(shard):
        return
    count = snapshot.parameters.neighbours
    ids_NL, before_NL = _padded(neighbours, count), lists.distinct(shard, count=count)
    changed_N: NDArray[np.uint8] = (before_NL != ids_NL).any(axis=1).astype(np.uint8)
    path = paths.changed_lists(snapshot.curation.id, shard.shard_id)
    arrays.write_arrays(snapshot.platform.objects, path, {"changed_N": changed_N})


def changes(snapshot: Snapshot) -> dict[str, Any]:
    """For the summary: which run this was compared with, and how many samples are new or have other lists."""
    lists = EarlierLists.for_comparison(snapshot)
    if lists is None:
        return {}
    changed = 0
    for shard in snapshot.shards:
        if shard.content_hash is None:
            continue
        if not lists.knows(shard):
            changed += shard.samples
            continue
        path = paths.changed_lists(snapshot.curation.id, shard.shard_id)
        changed += int(arrays.read_arrays(snapshot.platform.objects, path)["changed_N"].sum())
    return {"compared_with": lists.run.curation.id, "changed_neighbours": changed}
