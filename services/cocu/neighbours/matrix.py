"""The embeddings of a dataset as one long matrix whose rows are stored in one file per shard."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cocu.errors import IntegrityError

__all__ = ["Float16s", "Float32s", "Float64s", "Halves", "Ids", "Rows"]

Float16s = NDArray[np.float16]
Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Ids = NDArray[np.int64]


class Halves(Protocol):
    """A float16 matrix [n, D]: an array, or a file that is mapped when its rows are read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16."""

    @property
    def ndim(self) -> int:
        """2."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)."""

    def __len__(self) -> int:
        """n."""

    def __getitem__(self, rows: Any, /) -> Float16s:
        """Return some rows, by any index of numpy."""


LARGEST_NORM = 2.0
"""Embeddings have norm 1, or 0; up to this norm float16 inner products are exact in float64."""


class Rows:
    """Rows 0..N-1 of float16 matrices [n, D], one per shard and usually memory-mapped, read as float32 tiles.

    Every tile is checked: IntegrityError names the first row that is not finite or longer than LARGEST_NORM.
    Pages of mapped files are released after reading, so resident memory does not grow with N.
    """

    def __init__(self, shards: Sequence[Halves]) -> None:
        if not shards:
            raise ValueError("there must be at least one shard of embeddings")
        self.dim = int(shards[0].shape[1])
        for number, shard in enumerate(shards):
            if shard.dtype != np.float16 or shard.ndim != 2 or shard.shape[1] != self.dim:
                raise IntegrityError(
                    f"the embeddings of shard {number} are {shard.dtype} {list(shard.shape)}, "
                    f"not float16 [n, {self.dim}]"
                )
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def tiles(self, size: int) -> Iterator[tuple[int, Float32s]]:
        """Yield all rows in order, at most `size` at a time: the first row's id and float32 [T, D].

        The next step overwrites the array.
        """
        buffer_TD = np.empty((min(size, len(self)), self.dim), np.float32)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            tile_TD = buffer_TD[: stop - start]
            self._read(start, stop, tile_TD)
            yield start, tile_TD

    def gather(self, ids_Q: Ids) -> Float32s:
        """Return the rows of these ids, float32 [Q, D]; raises ValueError for an id outside 0..N-1."""
        if len(ids_Q) and (int(ids_Q.min()) < 0 or int(ids_Q.max()) >= len(self)):
            raise ValueError(f"row ids must be between 0 and {len(self) - 1}")
        gathered_QD = np.empty((len(ids_Q), self.dim), np.float32)
        shards_Q = np.searchsorted(self._starts, ids_Q, side="right") - 1
        for number in np.unique(shards_Q).tolist():
            in_shard_Q = shards_Q == number
            shard_ND = self._shards[number][:]
            gathered_QD[in_shard_Q] = shard_ND[ids_Q[in_shard_Q] - self._starts[number]]
            _release_pages(shard_ND)
        _check(gathered_QD, ids_Q)
        return gathered_QD

    def _read(self, start: int, stop: int, target_TD: Float32s) -> None:
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for number in range(first, len(self._shards)):
            offset = int(self._starts[number])
            if offset >= stop:
                break
            shard_ND = self._shards[number][max(start - offset, 0) : stop - offset]
            position = max(offset - start, 0)
            target_TD[position : position + len(shard_ND)] = shard_ND
            _release_pages(shard_ND)
        _check(target_TD, np.arange(start, stop))


def _check(rows_TD: Float32s, ids_T: Ids) -> None:
    squares_T = np.einsum("td,td->t", rows_TD, rows_TD)
    # Written so that NaN fails it too.
    wrong_W = np.flatnonzero(~(squares_T <= LARGEST_NORM**2))
    if wrong_W.size:
        norm = float(np.sqrt(squares_T[wrong_W[0]]))
        raise IntegrityError(
            f"the embedding of row {ids_T[wrong_W[0]]} has norm {norm} instead of 1 "
            f"({wrong_W.size} of {len(ids_T)} rows checked are like that): embed its shard again"
        )


def _release_pages(shard: Float16s) -> None:
    """Drop the mapped pages of a shard from resident memory; they stay in the page cache."""
    base: object = shard
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
