"""Reuse of the neighbour lists of an earlier curation, and the difference between its lists and new ones.

The lists of an earlier run with the same dataset and encoder are exact, whatever its vocabulary and scoring
were. So the later run only searches the new shards, and its result is the same as without reuse.
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

from cocu.catalog import curations, reuse
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import NO_NEIGHBOUR, Ids
from cocu.curation.parameters import CurationParameters
from cocu.errors import IntegrityError, NotFoundError
from cocu.pipeline.context import CurationContext
from cocu.storage import arrays, paths, tables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReusableLists:
    """The neighbour lists of an earlier run, whose samples have the same rows in this snapshot."""

    context: CurationContext
    run: CurationRecord
    shards: tuple[CurationShardRecord, ...]

    @classmethod
    def for_search(cls, context: CurationContext, *, count: int) -> Self | None:
        """Return the run with lists of at least `count` rows for the most samples; None if there is none."""
        if not context.searches_exactly:
            return None
        runs = reuse.completed(context.platform.catalog, curation=context.curation)
        # The sort is stable: among runs with as many samples the latest is first.
        for run in sorted(runs, key=lambda run: -run.samples):
            lists = cls._of(context, run)
            if not CurationParameters.from_stored(run.parameters).searches_exactly(run.samples):
                continue
            if lists is not None and lists._width >= count:
                return lists
        return None

    @classmethod
    def for_comparison(cls, context: CurationContext) -> Self | None:
        """Return the last run of fewer samples that had finished when this one was created, or None.

        It has the same number of neighbours, kind of search and threshold for duplicates.
        """
        own = context.curation
        for run in reuse.completed(context.platform.catalog, curation=own):
            is_finished = run.finished_at is not None and run.finished_at <= own.created_at
            has_same_rules = all(run.parameters.get(name) == own.parameters.get(name) for name in _RULES)
            if is_finished and has_same_rules and run.samples < own.samples:
                return cls._of(context, run)
        return None

    @classmethod
    def _of(cls, context: CurationContext, run: CurationRecord) -> Self | None:
        """Return None if samples of the run have other rows or other embeddings in this snapshot."""
        positions = {_position(shard) for shard in context.shards if shard.usable}
        shards = tuple(curations.shards(context.platform.catalog, curation_id=run.id))
        if not positions.issuperset(_position(shard) for shard in shards):
            return None
        return cls(context, run, shards)

    @cached_property
    def added(self) -> list[int]:
        """The ordinals of the shards of the snapshot that the run did not have."""
        return [shard.ordinal for shard in self.context.shards if shard.shard_id not in self._shard_ids]

    def read_lists(self, shard: CurationShardRecord) -> Ids | None:
        """Return the raw lists of a shard [n, K]; None if the run did not have it or its file is lost."""
        if shard.shard_id not in self._shard_ids:
            return None
        path = paths.neighbours(self.run.id, shard.shard_id)
        try:
            lists = arrays.read_arrays(self.context.platform.objects, path)
        except _UNUSABLE as error:
            # These lists are computed again instead.
            logger.warning("neighbour lists of an earlier curation are not used: %s", error)
            return None
        return lists["ids_NK"].astype(np.int64, copy=False)

    def deduplicated_lists(self, shard: CurationShardRecord, *, count: int) -> Ids | None:
        """Return the lists [n, count] that the archives of a shard were made from; None as `read_lists`."""
        if shard.shard_id not in self._shard_ids:
            return None
        path = paths.archives(self.run.id, shard.shard_id)
        try:
            table = tables.read_table(
                self.context.platform.objects, path, columns=["neighbours"], content_hash=shard.content_hash
            )
        except _UNUSABLE as error:
            logger.warning("archives of an earlier curation are not compared: %s", error)
            return None
        return _padded(table["neighbours"], count)

    @cached_property
    def _shard_ids(self) -> frozenset[str]:
        return frozenset(shard.shard_id for shard in self.shards)

    @property
    def _width(self) -> int:
        """K, the length of its raw lists."""
        lists = self.read_lists(self.shards[0])
        return 0 if lists is None else int(lists.shape[1])


def _position(shard: CurationShardRecord) -> tuple[str, int, int]:
    return shard.shard_id, shard.first_row, shard.revision


def _padded(lists: pa.ChunkedArray, count: int) -> Ids:
    lengths_N = pc.list_value_length(lists).to_numpy()
    ids_NL = np.full((len(lists), count), NO_NEIGHBOUR, np.int64)
    ids_NL[np.arange(count) < lengths_N[:, None]] = pc.list_flatten(lists).to_numpy()
    return ids_NL


_UNUSABLE = (NotFoundError, IntegrityError)

_RULES = ("neighbours", "search", "duplicate_similarity")


def store_changes(context: CurationContext, shard: CurationShardRecord, neighbours: pa.ChunkedArray) -> None:
    """Store which samples of a shard have other lists than in the earlier run.

    neighbours: the column of the shard's archives. For a new shard nothing is stored, and `changes` counts
    all its samples.
    """
    lists = ReusableLists.for_comparison(context)
    count = context.parameters.neighbours
    earlier_NL = None if lists is None else lists.deduplicated_lists(shard, count=count)
    if earlier_NL is None:
        return
    ids_NL = _padded(neighbours, count)
    changed_N: NDArray[np.uint8] = (earlier_NL != ids_NL).any(axis=1).astype(np.uint8)
    path = paths.changed_lists(context.curation.id, shard.shard_id)
    arrays.write_arrays(context.platform.objects, path, {"changed_N": changed_N})


def changes(context: CurationContext) -> dict[str, Any]:
    """Return for the summary the earlier run and the number of samples that are new or have other lists."""
    lists = ReusableLists.for_comparison(context)
    if lists is None:
        return {}
    changed = 0
    for shard in context.shards:
        if shard.content_hash is None:
            continue
        path = paths.changed_lists(context.curation.id, shard.shard_id)
        if context.platform.objects.exists(path):
            changed += int(arrays.read_arrays(context.platform.objects, path)["changed_N"].sum())
        else:
            changed += shard.samples
    return {"compared_with": lists.run.id, "changed_neighbours": changed}
