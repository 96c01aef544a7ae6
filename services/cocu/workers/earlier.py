"""What an earlier curation of the same dataset and encoder saves a later one, and how their lists differ.

The lists of an earlier run are exact, whatever its vocabulary and scoring were; so the later run searches the
shards that are new alone, and its content is that of a run from the beginning.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR, Ids
from cocu.curation.parameters import CurationParameters
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import curations, earlier
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.workers.snapshot import Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierLists:
    """The neighbour lists of an earlier run whose samples have the same rows in this snapshot."""

    snapshot: Snapshot
    run: CurationRecord
    shards: tuple[CurationShardRecord, ...]

    @classmethod
    def for_search(cls, snapshot: Snapshot, *, count: int) -> Self | None:
        """The run that knows lists of at least `count` rows for the most samples, if there is one."""
        if not snapshot.searches_exactly:
            return None
        runs = earlier.completed(snapshot.platform.catalog, curation=snapshot.curation)
        # Stable: of runs that know as much, the latest.
        for run in sorted(runs, key=lambda run: -run.samples):
            lists = cls._of(snapshot, run)
            if not CurationParameters(**run.parameters).searches_exactly(run.samples):
                continue
            if lists is not None and lists._width >= count:
                return lists
        return None

    @classmethod
    def for_comparison(cls, snapshot: Snapshot) -> Self | None:
        """The last run of fewer samples that had finished when this one was asked for.

        Its lists were made by the same rules: as many neighbours, and the same threshold for copies.
        """
        own = snapshot.curation
        for run in earlier.completed(snapshot.platform.catalog, curation=own):
            finished = run.finished_at is not None and run.finished_at <= own.created_at
            same_rules = all(run.parameters.get(name) == own.parameters.get(name) for name in _RULES)
            if finished and same_rules and run.samples < own.samples:
                return cls._of(snapshot, run)
        return None

    @classmethod
    def _of(cls, snapshot: Snapshot, run: CurationRecord) -> Self | None:
        """None unless the samples of the run have the same rows, and embeddings, in this snapshot."""
        present = {_place(shard) for shard in snapshot.shards if shard.usable}
        shards = tuple(curations.shards(snapshot.platform.catalog, curation_id=run.id))
        if not present.issuperset(_place(shard) for shard in shards):
            return None
        return cls(snapshot, run, shards)

    @cached_property
    def added(self) -> list[int]:
        """The shards of the snapshot, by position, that the run did not see."""
        return [shard.ordinal for shard in self.snapshot.shards if shard.shard_id not in self._known]

    def raw(self, shard: CurationShardRecord) -> Ids | None:
        """The raw lists of a shard's samples [n, K]; None where the run did not see it or lost its file."""
        if shard.shard_id not in self._known:
            return None
        path = paths.neighbours(self.run.id, shard.shard_id)
        try:
            found = arrays.read_arrays(self.snapshot.platform.objects, path)
        except _OF_NO_USE as error:
            # What it would have saved is computed instead.
            logger.warning("neighbour lists of an earlier curation are not used: %s", error)
            return None
        return found["ids_NK"].astype(np.int64, copy=False)

    def distinct(self, shard: CurationShardRecord, *, count: int) -> Ids | None:
        """The lists [n, count] that the archives of a shard's samples were made of; None as for `raw`."""
        if shard.shard_id not in self._known:
            return None
        path = paths.archives(self.run.id, shard.shard_id)
        try:
            table = tables.read_table(self.snapshot.platform.objects, path, columns=["neighbours"])
        except _OF_NO_USE as error:
            logger.warning("archives of an earlier curation are not compared: %s", error)
            return None
        return _padded(table["neighbours"], count)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(shard.shard_id for shard in self.shards)

    @property
    def _width(self) -> int:
        """K, how many rows its raw lists hold."""
        first = self.raw(self.shards[0])
        return 0 if first is None else int(first.shape[1])


def _place(shard: CurationShardRecord) -> tuple[str, int, int]:
    return shard.shard_id, shard.first_row, shard.revision


def _padded(lists: pa.ChunkedArray, count: int) -> Ids:
    lengths_N = pc.list_value_length(lists).to_numpy()
    ids_NL = np.full((len(lists), count), NO_NEIGHBOUR, np.int64)
    ids_NL[np.arange(count) < lengths_N[:, None]] = pc.list_flatten(lists).to_numpy()
    return ids_NL


_OF_NO_USE = (NotFoundError, IntegrityError)

_RULES = ("neighbours", "search", "duplicate_similarity")


def note_changes(snapshot: Snapshot, shard: CurationShardRecord, neighbours: pa.ChunkedArray) -> None:
    """Notes which samples of a shard have other lists than in the earlier run; of a new shard all have.

    neighbours: the column of the shard's archives.
    """
    lists = EarlierLists.for_comparison(snapshot)
    count = snapshot.parameters.neighbours
    before_NL = None if lists is None else lists.distinct(shard, count=count)
    if before_NL is None:
        return
    ids_NL = _padded(neighbours, count)
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
        path = paths.changed_lists(snapshot.curation.id, shard.shard_id)
        if snapshot.platform.objects.exists(path):
            changed += int(arrays.read_arrays(snapshot.platform.objects, path)["changed_N"].sum())
        else:
            changed += shard.samples
    return {"compared_with": lists.run.id, "changed_neighbours": changed}
