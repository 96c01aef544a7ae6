"""The order in which an epoch visits the samples: a permutation that reads every shard nearly in sequence.

The order is a pure function of (curation hash, seed, epoch) and the sizes of the shards. The shards are
shuffled and read in groups of SHARDS_TOGETHER. Each shard starts at a random row, is read run after run of
RUN rows, and wraps around at its end. The rows of the runs that are read together, one run of each shard, are
permuted. So a reader holds a window of SHARDS_TOGETHER x RUN samples, and neighbours within a shard meet
different samples in every epoch.

Any part of the order can be computed without the part before it, so a trainer can resume in mid-epoch. A
global batch is the same set of samples for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cocu.curation.archives import Ids
from cocu.curation.numba_cache import compiled
from cocu.curation.randomness import nth, numbers, permutation, seed_of

__all__ = ["RUN", "SHARDS_TOGETHER", "SampleOrder", "batch_count", "rank_share", "sample_order"]

SHARDS_TOGETHER = 16
RUN = 128
"""Rows read in sequence from a shard at a time: with SHARDS_TOGETHER, a window of 2,048 samples."""


def sample_order(shard_sizes: Sequence[int], *, curation_hash: str, seed: int, epoch: int) -> SampleOrder:
    """Return the order of one epoch over the samples of all shards; it is computed on demand.

    Raises:
        ValueError: a size is negative.
    """
    if any(size < 0 for size in shard_sizes):
        raise ValueError("a shard cannot have fewer than no samples: give the number of samples of each")
    return SampleOrder(tuple(int(size) for size in shard_sizes), curation_hash, seed, epoch)


def batch_count(samples: int, global_batch: int, *, drop_last: bool = False) -> int:
    """Return the number of global batches of an epoch; the last may be shorter, unless it is dropped.

    Raises:
        ValueError: the batch is not positive.
    """
    if global_batch < 1:
        raise ValueError(f"global_batch must be at least 1, not {global_batch}")
    return samples // global_batch if drop_last else -(-samples // global_batch)


def rank_share(batch_rows: Ids, *, rank: int, world_size: int) -> Ids:
    """Return the rows of a global batch for one rank: ranks share no row, and their shares differ by at most
    one row.

    Raises:
        ValueError: there is no such rank.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in 0..{world_size - 1}, not {rank}")
    return batch_rows[rank::world_size]


@dataclass(frozen=True)
class SampleOrder:
    """A permutation of the global rows 0..N-1 of an epoch, as rows of shards in the order given."""

    shard_sizes: tuple[int, ...]
    curation_hash: str
    seed: int
    epoch: int

    def __len__(self) -> int:
        return sum(self.shard_sizes)

    def rows(self, start: int, stop: int) -> Ids:
        """Return the global rows at positions start..stop-1 of the order, int64; fewer where the order
        ends."""
        pieces = list(self.pieces(start, stop))
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Ids]:
        """Yield the same rows window by window, in the memory of one window for any range."""
        start = max(start, 0)
        stop = len(self) if stop is None else min(stop, len(self))
        group = int(np.searchsorted(self._group_starts, start, side="right")) - 1
        while start < stop:
            position = int(self._group_starts[group])
            for window, size in enumerate(self._window_sizes(group)):
                if position + size > start and position < stop:
                    yield self._window(group, window)[max(start - position, 0) : stop - position]
                position += int(size)
                if position >= stop:
                    return
            group += 1
            start = position

    def batches(self, global_batch: int, *, start: int = 0, drop_last: bool = False) -> Iterator[Ids]:
        """Yield the global batches from number `start` on.

        Raises:
            ValueError: the batch is not positive.
        """
        batches = batch_count(len(self), global_batch, drop_last=drop_last)
        pending: list[Ids] = []
        count = 0
        for piece in self.pieces(start * global_batch, batches * global_batch):
            pending.append(piece)
            count += len(piece)
            if count >= global_batch:
                rows = np.concatenate(pending)
                whole = count // global_batch * global_batch
                yield from rows[:whole].reshape(-1, global_batch)
                pending, count = [rows[whole:]], count - whole
        if count:
            yield np.concatenate(pending)

    @cached_property
    def _shards(self) -> Ids:
        return permutation(self._seed("shards"), len(self.shard_sizes))

    @cached_property
    def _shard_starts(self) -> Ids:
        return np.cumsum([0, *self.shard_sizes], dtype=np.int64)

    @cached_property
    def _group_starts(self) -> Ids:
        """The position in the order at which each group of shards begins."""
        sizes = np.array(self.shard_sizes, dtype=np.int64)[self._shards]
        firsts = np.arange(0, len(sizes), SHARDS_TOGETHER)
        totals = np.add.reduceat(sizes, firsts) if len(sizes) else np.empty(0, dtype=np.int64)
        return np.concatenate([[0], np.cumsum(totals)[:-1]]).astype(np.int64)

    def _group(self, group: int) -> Ids:
        return self._shards[group * SHARDS_TOGETHER : (group + 1) * SHARDS_TOGETHER]

    def _window_sizes(self, group: int) -> Ids:
        sizes = np.array([self.shard_sizes[shard] for shard in self._group(group)], dtype=np.int64)
        firsts = np.arange(0, sizes.max(initial=0), RUN)
        return np.asarray(np.clip(sizes[None, :] - firsts[:, None], 0, RUN).sum(axis=1), dtype=np.int64)

    @cached_property
    def _first_rows(self) -> Ids:
        """The row at which reading of each shard starts."""
        sizes = np.maximum(np.array(self.shard_sizes, dtype=np.uint64), 1)
        return (numbers(self._seed("begin"), len(sizes)) % sizes).astype(np.int64)

    @cached_property
    def _windows(self) -> int:
        return self._seed("window")

    def _window(self, group: int, window: int) -> Ids:
        """The rows of one run of each shard of a group, permuted."""
        shards_G = self._group(group)
        starts_G = self._shard_starts[shards_G]
        sizes_G = self._shard_starts[shards_G + 1] - starts_G
        rows = _runs(starts_G, sizes_G, self._first_rows[shards_G], window * RUN)
        mixed: Ids = rows[permutation(nth(nth(self._windows, group), window), len(rows))]
        return mixed

    def _seed(self, name: str) -> int:
        return seed_of("order", self.curation_hash, self.seed, self.epoch, name)


@compiled(nogil=True)
def _runs(starts_G: Ids, sizes_G: Ids, first_rows_G: Ids, first: int) -> Ids:
    """The rows of the run that starts at position `first` of each shard, one shard after the other."""
    rows = np.empty(np.minimum(np.maximum(sizes_G - first, 0), RUN).sum(), np.int64)
    count = 0
    for shard in range(len(starts_G)):
        for position in range(first, min(first + RUN, sizes_G[shard])):
            rows[count] = starts_G[shard] + (first_rows_G[shard] + position) % sizes_G[shard]
            count += 1
    return rows
