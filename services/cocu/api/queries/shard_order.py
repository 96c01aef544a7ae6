"""The order of a dataset's samples: global rows, through its shards one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from cocu.catalog.samples import ShardRecord


class ShardOrder:
    """The shards of a dataset in order, and the global row with which each begins.

    A dataset that grows appends rows. Uploads that are read in another order than they arrived can move the
    rows that were there; what must stay is named by its shard and its row there, which never change.
    """

    def __init__(self, shards: Sequence[ShardRecord]) -> None:
        self._shards = shards
        self._first_rows = [0, *accumulate(shard.samples for shard in shards)]
        self._numbers = {shard.id: number for number, shard in enumerate(shards)}

    @property
    def samples(self) -> int:
        """The number of samples of all shards."""
        return self._first_rows[-1]

    def shards_from(self, number: int) -> Sequence[ShardRecord]:
        """Return the shards from this one on, in order."""
        return self._shards[number:]

    def number_of(self, shard_id: str) -> int | None:
        """Return the number of a shard in the order; None where the dataset does not have it."""
        return self._numbers.get(shard_id)

    def global_row(self, shard_id: str, row: int) -> int | None:
        """Return the global row of a row of a shard; None where the shard came after this was read."""
        number = self._numbers.get(shard_id)
        return None if number is None else self._first_rows[number] + row

    def locate(self, global_row: int) -> tuple[str, int]:
        """Return the shard of a global row, and its row there. Raises IndexError where there is none."""
        if not 0 <= global_row < self.samples:
            raise IndexError(global_row)
        # Shards may be empty: the last one that begins at or before the row.
        number = bisect_right(self._first_rows, global_row) - 1
        return self._shards[number].id, global_row - self._first_rows[number]
