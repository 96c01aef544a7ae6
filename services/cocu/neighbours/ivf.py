"""An inverted file (IVF): neighbour search in a few k-means cells, for datasets too large to search exactly.

Each row belongs to the cell with the nearest centre (spherical k-means), and rows are stored in the order of
the cells. A query is compared only with the rows of the `nprobe` cells whose centres are nearest to it.
`choose_nprobe` measures how many cells are needed, against exact lists of a sample of queries. All arithmetic
is exact (float16 inputs, sums that do not depend on the order of addition), so the same rows give the same
centres, cells and lists on any machine, and a curation keeps its content hash. A graph index would not: its
lists depend on the order of insertion.

Sources: Jégou, Douze, Schmid, Product quantization for nearest neighbor search (2011), section 4 (inverted
files); Dhillon, Modha, Concept decompositions (2001) (spherical k-means).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.curation.numba_cache import compiled
from cocu.curation.randomness import permutation
from cocu.neighbours.exact import Engine, Neighbours, top_neighbours
from cocu.neighbours.exact_cpu import equal_slices, inner_product, reaches, rounding_bound, scan
from cocu.neighbours.matrix import Float16s, Float32s, Float64s, Halves, Ids, Rows

__all__ = ["IvfIndex", "Probing", "build", "cell_count", "choose_nprobe", "search"]

_ITERATIONS = 10
_TRAINING_ROWS_PER_CELL = 64
_TILE = 1024
_QUERY_BLOCK = 2048
_ROWS_AT_ONCE = 8192
_SAMPLE = 512


@dataclass(frozen=True)
class IvfIndex:
    """N rows in K cells: the rows of cell k are `ids_N[offsets_K1[k]:offsets_K1[k + 1]]`, ascending.

    centres_KD: float16, of unit norm. ids_N: int64, every row once. offsets_K1: int64.
    """

    centres_KD: Float16s
    ids_N: Ids
    offsets_K1: Ids

    def __len__(self) -> int:
        return len(self.centres_KD)


class Probing(NamedTuple):
    """The number of cells that each query looks through, and the share of true neighbours that this finds."""

    nprobe: int
    recall: float


def cell_count(rows: int) -> int:
    """Return K for N rows: the power of two nearest to 2·√N, at least 1 and at most N."""
    return int(min(2 ** round(np.log2(2 * np.sqrt(max(rows, 1)))), max(rows, 1)))


def build(embeddings: Sequence[Halves], *, cells: int, seed: int = 0, threads: int = 0) -> IvfIndex:
    """Build the index: split the rows of all shards into `cells` cells.

    embeddings: one float16 [n, D] matrix per shard, of unit norm or zero, memory-mapped or not. The centres
    are trained on at most 64 rows per cell, spread over all rows. The result is a pure function of the
    arguments except `threads`. Memory: 16 bytes a row and the training rows.

    Raises ValueError when `cells` is below 1 or above the number of rows, IntegrityError for embeddings that
    are not finite or longer than unit norm.
    """
    rows = Rows(embeddings)
    if not 1 <= cells <= len(rows):
        raise ValueError(f"{len(rows)} rows can be split into 1 to {len(rows)} cells, not {cells}")
    with _pool(threads) as (pool, count):
        centres_KD = _train(rows, cells=cells, seed=seed, pool=pool, threads=count)
        cells_N = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            ids_Q = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
            cells_N[ids_Q] = _nearest_cells(rows.gather(ids_Q), centres_KD, 1, pool, count)[:, 0]
    ids_N = np.argsort(cells_N, kind="stable").astype(np.int64)
    offsets_K1 = np.concatenate([[0], np.cumsum(np.bincount(cells_N, minlength=cells))]).astype(np.int64)
    return IvfIndex(centres_KD, ids_N, offsets_K1)


def search(
    index: IvfIndex,
    ordered_ND: Float16s,
    queries_QD: Float32s,
    own_Q: Ids,
    *,
    count: int,
    nprobe: int,
    threads: int = 0,
) -> Neighbours:
    """Find the `count` rows most similar to each query among the rows of its `nprobe` nearest cells.

    ordered_ND: the rows in the order of `index.ids_N`, float16 [N, D]. queries_QD: float32, read from float16
    rows. own_Q: the id of each query's own row, which its list leaves out. Lists are those of
    `top_neighbours`, and equal to them when `nprobe` is K. Memory: about 16 MiB beside the results, for any
    N.

    Raises ValueError for a count below 1, or nprobe outside 1 to K.
    """
    if count < 1 or not 1 <= nprobe <= len(index):
        raise ValueError(f"count must be at least 1 and nprobe 1 to {len(index)}, not {count} and {nprobe}")
    ids_QL = np.full((len(queries_QD), count), NO_NEIGHBOUR, np.int64)
    exact_QL = np.full((len(queries_QD), count), -np.inf)
    with _pool(threads) as (pool, threads_used):
        probed_QP = _nearest_cells(queries_QD, index.centres_KD, nprobe, pool, threads_used)
        # The pairs of query and cell, sorted by cell, so that every cell is read once.
        order_M = np.argsort(probed_QP.reshape(-1), kind="stable")
        edges_K1 = np.searchsorted(probed_QP.reshape(-1)[order_M], np.arange(len(index) + 1))
        for cell, (low, high) in enumerate(pairwise(edges_K1.tolist())):
            first, last = int(index.offsets_K1[cell]), int(index.offsets_K1[cell + 1])
            queries_M = np.sort(order_M[low:high] // nprobe)
            for start in range(first, last if len(queries_M) else first, _TILE):
                part = slice(start, min(start + _TILE, last))
                tile = _Tile(ordered_ND[part].astype(np.float32), index.ids_N[part])
                tile.insert_into(queries_M, queries_QD, own_Q, ids_QL, exact_QL, pool, threads_used)
    exact_QL[ids_QL == NO_NEIGHBOUR] = 0.0
    return Neighbours(ids_QL, exact_QL.astype(np.float32))


def choose_nprobe(
    index: IvfIndex,
    ordered_ND: Float16s,
    embeddings: Sequence[Halves],
    *,
    count: int,
    recall: float,
    engine: Engine = "cpu",
) -> Probing:
    """Choose the smallest power of two that finds this share of the true neighbours of 512 sampled rows.

    A row counts as found if it is at least as similar as the last true neighbour. If no smaller number is
    enough, nprobe is the number of cells, which is exact.
    """
    samples_S = np.unique(np.linspace(0, len(index.ids_N) - 1, _SAMPLE).astype(np.int64))
    queries_SD = Rows(embeddings).gather(samples_S)
    true_SL = top_neighbours(embeddings, samples_S, count=count, engine=engine)
    last_S = np.where(true_SL.ids_QL == NO_NEIGHBOUR, np.inf, true_SL.similarities_QL).min(axis=1)
    true_count = int((true_SL.ids_QL != NO_NEIGHBOUR).sum())
    nprobe = 1
    while nprobe < len(index):
        neighbours = search(index, ordered_ND, queries_SD, samples_S, count=count, nprobe=nprobe)
        valid_SL = (neighbours.ids_QL != NO_NEIGHBOUR) & (neighbours.similarities_QL >= last_S[:, None])
        reached = float(valid_SL.sum()) / true_count if true_count else 1.0
        if reached >= recall:
            return Probing(nprobe, reached)
        nprobe *= 2
    return Probing(len(index), 1.0)


def _train(rows: Rows, *, cells: int, seed: int, pool: Executor, threads: int) -> Float16s:
    """Spherical k-means that starts from random rows as centres; a cell without rows keeps its centre."""
    training_rows = min(len(rows), cells * _TRAINING_ROWS_PER_CELL)
    ids_T = np.unique(np.linspace(0, len(rows) - 1, training_rows).astype(np.int64))
    training_TD = rows.gather(ids_T)
    first_K = np.sort(permutation(seed, len(ids_T))[:cells])
    centres_KD = training_TD[first_K].astype(np.float16)
    for _ in range(_ITERATIONS):
        cells_T = np.concatenate(
            [
                _nearest_cells(training_TD[start : start + _ROWS_AT_ONCE], centres_KD, 1, pool, threads)[:, 0]
                for start in range(0, len(training_TD), _ROWS_AT_ONCE)
            ]
        )
        sums_KD = np.zeros(centres_KD.shape)
        _add_rows(training_TD, cells_T, sums_KD)
        norms_K1 = np.sqrt((sums_KD**2).sum(axis=1, keepdims=True))
        moved_KD = (sums_KD / np.where(norms_K1 > 0, norms_K1, 1.0)).astype(np.float16)
        moved_KD = np.where(norms_K1 > 0, moved_KD, centres_KD)
        if np.array_equal(moved_KD, centres_KD):
            break
        centres_KD = moved_KD
    return centres_KD


def _nearest_cells(
    queries_QD: Float32s, centres_KD: Float16s, count: int, pool: Executor, threads: int
) -> Ids:
    """Return the cells with the most similar centres, int64 [Q, count], ties by ascending number."""
    cells_QP = np.full((len(queries_QD), count), NO_NEIGHBOUR, np.int64)
    scan(
        Rows([centres_KD]),
        queries_QD=queries_QD,
        own_Q=np.full(len(queries_QD), NO_NEIGHBOUR, np.int64),
        groups_N=np.arange(len(centres_KD), dtype=np.int64),
        ids_QL=cells_QP,
        exact_QL=np.full(cells_QP.shape, -np.inf),
        tile=max(len(centres_KD), 1),
        pool=pool,
        threads=threads,
    )
    return cells_QP


@compiled(nogil=True)
def _add_rows(rows_TD: Float32s, cells_T: Ids, sums_KD: Float64s) -> None:
    """Add rows to the sums of their cells: float64 sums of float16 are exact to 2^28 rows, in any order."""
    for row in range(len(rows_TD)):
        for d in range(rows_TD.shape[1]):
            sums_KD[cells_T[row], d] += np.float64(rows_TD[row, d])


class _Tile(NamedTuple):
    """A part of the rows of a cell, and their ids."""

    rows_TD: Float32s
    ids_T: Ids

    def insert_into(
        self,
        queries_M: Ids,
        queries_QD: Float32s,
        own_Q: Ids,
        ids_QL: Ids,
        exact_QL: Float64s,
        pool: Executor,
        threads: int,
    ) -> None:
        """Insert these rows into the lists of the queries `queries_M`, in place."""
        bound = rounding_bound(self.rows_TD.shape[1])
        for start in range(0, len(queries_M), _QUERY_BLOCK):
            block_M = queries_M[start : start + _QUERY_BLOCK]
            products_MT = queries_QD[block_M] @ self.rows_TD.T
            futures = [
                pool.submit(
                    _insert_rows,
                    products_MT[part],
                    block_M[part],
                    queries_QD,
                    self.rows_TD,
                    self.ids_T,
                    own_Q,
                    bound,
                    ids_QL,
                    exact_QL,
                )
                for part in equal_slices(len(block_M), threads)
            ]
            for future in futures:
                future.result()


@compiled(nogil=True, error_model="numpy")
def _insert_rows(
    products_MT: Float32s,
    queries_M: Ids,
    queries_QD: Float32s,
    rows_TD: Float32s,
    ids_T: Ids,
    own_Q: Ids,
    bound: float,
    ids_QL: Ids,
    exact_QL: Float64s,
) -> None:
    last = ids_QL.shape[1] - 1
    for position in range(len(queries_M)):
        query = queries_M[position]
        lowest = np.float32(exact_QL[query, last] - bound)
        if not reaches(products_MT[position], lowest):
            continue
        for row in range(len(rows_TD)):
            if products_MT[position, row] < lowest or ids_T[row] == own_Q[query]:
                continue
            similarity = inner_product(queries_QD[query], rows_TD[row])
            _insert(ids_T[row], similarity, ids_QL[query], exact_QL[query])
            lowest = np.float32(exact_QL[query, last] - bound)


@compiled(nogil=True, error_model="numpy")
def _insert(new_id: int, similarity: float, ids_L: Ids, exact_L: Float64s) -> None:
    """Insert a row; rows do not come in the order of their ids here, so ties are sorted by id."""
    position = len(ids_L) - 1
    if exact_L[position] > similarity or (exact_L[position] == similarity and ids_L[position] < new_id):
        return
    while position > 0 and (
        similarity > exact_L[position - 1]
        or (similarity == exact_L[position - 1] and new_id < ids_L[position - 1])
    ):
        ids_L[position], exact_L[position] = ids_L[position - 1], exact_L[position - 1]
        position -= 1
    ids_L[position], exact_L[position] = new_id, similarity


@contextmanager
def _pool(threads: int) -> Iterator[tuple[Executor, int]]:
    """Open a thread pool for one search; yield it and its size."""
    count = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count, thread_name_prefix="ivf") as pool:
        yield pool, count
