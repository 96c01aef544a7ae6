"""Neighbours among a few cells of the space instead of all rows: for datasets too large to search exactly.

The rows are split among cells by their nearest centre (spherical k-means) and stored in the order of the
cells; a query looks only through the cells whose centres are nearest to it. How many those must be is not
guessed but measured, against exact lists of a sample of queries. Every number is exact (float16 inputs,
sums that no order of addition changes), so the same rows give the same centres, cells and lists on any
machine, and a curation keeps its content hash; the lists of a graph index depend on the order of insertion.

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

import numba
import numpy as np

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.curation.randomness import permutation
from cocu.neighbours.rows import Float16s, Float32s, Float64s, Ids, Rows
from cocu.neighbours.scan import inner_product, reaches, rounding_bound, scan
from cocu.neighbours.search import Engine, Neighbours, top_neighbours

__all__ = ["Cells", "Probing", "cell_count", "choose_probes", "probed_neighbours", "split_into_cells"]

_ITERATIONS = 10
_TRAINING_ROWS_PER_CELL = 64
_TILE = 1024
_QUERY_BLOCK = 2048
_ROWS_AT_ONCE = 8192
_SAMPLE = 512


@dataclass(frozen=True)
class Cells:
    """N rows split among K cells: the rows of cell k are `ids_N[offsets_K1[k]:offsets_K1[k + 1]]`, ascending.

    centres_KD: float16, of unit norm. ids_N: int64, every row once. offsets_K1: int64.
    """

    centres_KD: Float16s
    ids_N: Ids
    offsets_K1: Ids

    def __len__(self) -> int:
        return len(self.centres_KD)


class Probing(NamedTuple):
    """How many cells each query looks through, and the share of true neighbours that this finds."""

    probes: int
    recall: float


def cell_count(rows: int) -> int:
    """K for N rows: the power of two nearest to 2·√N, at least 1 and at most N."""
    return int(min(2 ** round(np.log2(2 * np.sqrt(max(rows, 1)))), max(rows, 1)))


def split_into_cells(embeddings: Sequence[Float16s], *, cells: int, seed: int = 0, threads: int = 0) -> Cells:
    """Split the rows of all shards among `cells` cells.

    embeddings: one float16 [n, D] matrix per shard, of unit norm or zero, memory-mapped or not. The centres
    are learnt from at most 64 rows a cell, spread over all rows. A pure function of its arguments but
    `threads`. Memory: 16 bytes a row and what the training rows take.

    Raises ValueError for no cell or more cells than rows, IntegrityError for embeddings that are none.
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
    return Cells(centres_KD, ids_N, offsets_K1)


def probed_neighbours(
    cells: Cells,
    ordered_ND: Float16s,
    queries_QD: Float32s,
    own_Q: Ids,
    *,
    count: int,
    probes: int,
    threads: int = 0,
) -> Neighbours:
    """The `count` rows most similar to each query among those of its `probes` nearest cells.

    ordered_ND: the rows in the order of `cells.ids_N`, float16 [N, D]. queries_QD: float32, read from float16
    rows. own_Q: the row that each query is, which its list leaves out. Lists as those of `top_neighbours`;
    with as many probes as cells they are equal to those. Memory: about 16 MiB beside the results, whatever N.

    Raises ValueError for a count below 1, or probes outside 1 to K.
    """
    if count < 1 or not 1 <= probes <= len(cells):
        raise ValueError(f"count must be at least 1 and probes 1 to {len(cells)}, not {count} and {probes}")
    ids_QL = np.full((len(queries_QD), count), NO_NEIGHBOUR, np.int64)
    exact_QL = np.full((len(queries_QD), count), -np.inf)
    with _pool(threads) as (pool, split):
        probed_QP = _nearest_cells(queries_QD, cells.centres_KD, probes, pool, split)
        # The pairs of query and cell, by cell: every cell is read once.
        order_M = np.argsort(probed_QP.reshape(-1), kind="stable")
        edges_K1 = np.searchsorted(probed_QP.reshape(-1)[order_M], np.arange(len(cells) + 1))
        for cell, (low, high) in enumerate(pairwise(edges_K1.tolist())):
            first, last = int(cells.offsets_K1[cell]), int(cells.offsets_K1[cell + 1])
            queries_M = np.sort(order_M[low:high] // probes)
            for start in range(first, last if len(queries_M) else first, _TILE):
                part = slice(start, min(start + _TILE, last))
                tile = _Tile(ordered_ND[part].astype(np.float32), cells.ids_N[part])
                tile.enter(queries_M, queries_QD, own_Q, ids_QL, exact_QL, pool, split)
    exact_QL[ids_QL == NO_NEIGHBOUR] = 0.0
    return Neighbours(ids_QL, exact_QL.astype(np.float32))


def choose_probes(
    cells: Cells,
    ordered_ND: Float16s,
    embeddings: Sequence[Float16s],
    *,
    count: int,
    recall: float,
    engine: Engine = "cpu",
) -> Probing:
    """The fewest probes, of powers of two, that find this share of the true neighbours of 512 sampled rows.

    Found counts what is at least as similar as the last true neighbour. Where no smaller number is enough it
    is every cell, which is exact.
    """
    samples_S = np.unique(np.linspace(0, len(cells.ids_N) - 1, _SAMPLE).astype(np.int64))
    queries_SD = Rows(embeddings).gather(samples_S)
    true_SL = top_neighbours(embeddings, samples_S, count=count, engine=engine)
    last_S = np.where(true_SL.ids_QL == NO_NEIGHBOUR, np.inf, true_SL.similarities_QL).min(axis=1)
    wanted = int((true_SL.ids_QL != NO_NEIGHBOUR).sum())
    probes = 1
    while probes < len(cells):
        found = probed_neighbours(cells, ordered_ND, queries_SD, samples_S, count=count, probes=probes)
        valid_SL = (found.ids_QL != NO_NEIGHBOUR) & (found.similarities_QL >= last_S[:, None])
        reached = float(valid_SL.sum()) / wanted if wanted else 1.0
        if reached >= recall:
            return Probing(probes, reached)
        probes *= 2
    return Probing(len(cells), 1.0)


def _train(rows: Rows, *, cells: int, seed: int, pool: Executor, threads: int) -> Float16s:
    """Spherical k-means from rows drawn as first centres; a cell that gets no row keeps its centre."""
    wanted = min(len(rows), cells * _TRAINING_ROWS_PER_CELL)
    chosen_T = np.unique(np.linspace(0, len(rows) - 1, wanted).astype(np.int64))
    training_TD = rows.gather(chosen_T)
    first_K = np.sort(permutation(seed, len(chosen_T))[:cells])
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
    """The cells with the most similar centres, int64 [Q, count]; equal ones by ascending number."""
    found_QP = np.full((len(queries_QD), count), NO_NEIGHBOUR, np.int64)
    scan(
        Rows([centres_KD]),
        queries_QD=queries_QD,
        own_Q=np.full(len(queries_QD), NO_NEIGHBOUR, np.int64),
        groups_N=np.arange(len(centres_KD), dtype=np.int64),
        ids_QL=found_QP,
        exact_QL=np.full(found_QP.shape, -np.inf),
        tile=max(len(centres_KD), 1),
        pool=pool,
        threads=threads,
    )
    return found_QP


@numba.njit(nogil=True, cache=True)
def _add_rows(rows_TD: Float32s, cells_T: Ids, sums_KD: Float64s) -> None:
    """Sums of float16 numbers in float64 are exact up to 2^28 rows, so their order does not matter."""
    for row in range(len(rows_TD)):
        for d in range(rows_TD.shape[1]):
            sums_KD[cells_T[row], d] += np.float64(rows_TD[row, d])


class _Tile(NamedTuple):
    """Some rows of a cell, and their ids."""

    rows_TD: Float32s
    ids_T: Ids

    def enter(
        self,
        queries_M: Ids,
        queries_QD: Float32s,
        own_Q: Ids,
        ids_QL: Ids,
        exact_QL: Float64s,
        pool: Executor,
        threads: int,
    ) -> None:
        """Enters these rows into the lists of the queries `queries_M`, in place."""
        bound = rounding_bound(self.rows_TD.shape[1])
        for start in range(0, len(queries_M), _QUERY_BLOCK):
            block_M = queries_M[start : start + _QUERY_BLOCK]
            products_MT = queries_QD[block_M] @ self.rows_TD.T
            edges = np.linspace(0, len(block_M), threads + 1).astype(int).tolist()
            pending = [
                pool.submit(
                    _enter,
                    products_MT[low:high],
                    block_M[low:high],
                    queries_QD,
                    self.rows_TD,
                    self.ids_T,
                    own_Q,
                    bound,
                    ids_QL,
                    exact_QL,
                )
                for low, high in pairwise(edges)
                if low < high
            ]
            for outcome in pending:
                outcome.result()


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _enter(
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _insert(new_id: int, similarity: float, ids_L: Ids, exact_L: Float64s) -> None:
    """Rows do not come in the order of their ids here, so equal similarities are put in order by id."""
    place = len(ids_L) - 1
    if exact_L[place] > similarity or (exact_L[place] == similarity and ids_L[place] < new_id):
        return
    while place > 0 and (
        similarity > exact_L[place - 1] or (similarity == exact_L[place - 1] and new_id < ids_L[place - 1])
    ):
        ids_L[place], exact_L[place] = ids_L[place - 1], exact_L[place - 1]
        place -= 1
    ids_L[place], exact_L[place] = new_id, similarity


@contextmanager
def _pool(threads: int) -> Iterator[tuple[Executor, int]]:
    """Threads for one search, and how many they are."""
    count = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count, thread_name_prefix="cells") as pool:
        yield pool, count
