"""Exact search on the CPU: matrix products find candidates, exact inner products rank them."""

from __future__ import annotations

from concurrent.futures import Executor
from itertools import pairwise

import numpy as np

from cocu.curation.numba_cache import compiled
from cocu.neighbours.matrix import LARGEST_NORM, Float32s, Float64s, Ids, Rows

__all__ = ["equal_slices", "inner_product", "reaches", "rounding_bound", "scan"]

# A block of products must stay in the cache from its computation until it is searched.
_QUERY_BLOCK = 2048
_ROW_BLOCK = 1024
_STRIDE = 256


def rounding_bound(dim: int) -> float:
    """Return the largest error of a float32 product of two stored rows, for any order of additions.

    Products of two float16 numbers are exact in float32, so only the D - 1 additions round: Higham,
    Accuracy and Stability of Numerical Algorithms, (3.5). The norms of both rows bound the sum of
    magnitudes.
    """
    return 1.1 * dim * 2.0**-24 * LARGEST_NORM**2


def scan(
    rows: Rows,
    *,
    queries_QD: Float32s,
    own_Q: Ids,
    groups_N: Ids,
    ids_QL: Ids,
    exact_QL: Float64s,
    tile: int,
    pool: Executor,
    threads: int,
) -> None:
    """Insert every row of the dataset into the lists of the queries, in place.

    own_Q: the group of each query, which its list leaves out. ids_QL and exact_QL start as NO_NEIGHBOUR and
    -inf.
    """
    products = np.empty(_QUERY_BLOCK * _ROW_BLOCK, np.float32)
    bound = rounding_bound(rows.dim)

    for first_id, tile_TD in rows.tiles(tile):
        for start in range(0, len(tile_TD), _ROW_BLOCK):
            block_TD = tile_TD[start : start + _ROW_BLOCK]
            for query in range(0, len(queries_QD), _QUERY_BLOCK):
                queries = slice(query, query + _QUERY_BLOCK)
                part_QD, own_part_Q = queries_QD[queries], own_Q[queries]
                ids_part_QL, exact_part_QL = ids_QL[queries], exact_QL[queries]
                shape = (len(part_QD), len(block_TD))
                products_QT = products[: shape[0] * shape[1]].reshape(shape)
                np.matmul(part_QD, block_TD.T, out=products_QT)
                futures = [
                    pool.submit(
                        _insert_rows,
                        products_QT[part],
                        part_QD[part],
                        block_TD,
                        first_id + start,
                        own_part_Q[part],
                        groups_N,
                        bound,
                        ids_part_QL[part],
                        exact_part_QL[part],
                    )
                    for part in equal_slices(len(part_QD), threads)
                ]
                for future in futures:
                    future.result()


def equal_slices(count: int, parts: int) -> list[slice]:
    """Split 0..count-1 into at most `parts` slices of nearly equal length, none of them empty."""
    edges = np.linspace(0, count, parts + 1).astype(int).tolist()
    return [slice(low, high) for low, high in pairwise(edges) if low < high]


@compiled(nogil=True, error_model="numpy")
def _insert_rows(
    products_QT: Float32s,
    queries_QD: Float32s,
    rows_TD: Float32s,
    first_id: int,
    own_Q: Ids,
    groups_N: Ids,
    bound: float,
    ids_QL: Ids,
    exact_QL: Float64s,
) -> None:
    last = ids_QL.shape[1] - 1
    for query in range(len(queries_QD)):
        products_T = products_QT[query]
        lowest = np.float32(exact_QL[query, last] - bound)
        for start in range(0, len(rows_TD), _STRIDE):
            stop = min(start + _STRIDE, len(rows_TD))
            if not reaches(products_T[start:stop], lowest):
                continue
            for row in range(start, stop):
                if products_T[row] < lowest or groups_N[first_id + row] == own_Q[query]:
                    continue
                similarity = inner_product(queries_QD[query], rows_TD[row])
                if similarity > exact_QL[query, last]:
                    _insert(first_id + row, similarity, groups_N, ids_QL[query], exact_QL[query])
                    lowest = np.float32(exact_QL[query, last] - bound)


@compiled(nogil=True, inline="never")
def reaches(products_T: Float32s, lowest: np.float32) -> bool:
    """Return whether any product is at least `lowest`."""
    # Counting all of them compiles to vector instructions; a maximum, or stopping early, does not.
    reaching = 0
    for row in range(len(products_T)):
        if products_T[row] >= lowest:
            reaching += 1
    return reaching > 0


@compiled(nogil=True, fastmath=True, inline="never")
def inner_product(a_D: Float32s, b_D: Float32s) -> float:
    """Return the inner product, which is exact for rows read from float16.

    Products are multiples of 2^-48 and add up to less than 2^5, so additions in any order, here and on any
    other device, give the same bits.
    """
    total = 0.0
    for d in range(len(a_D)):
        total += np.float64(a_D[d]) * np.float64(b_D[d])
    return total


@compiled(nogil=True, error_model="numpy")
def _insert(new_id: int, similarity: float, groups_N: Ids, ids_L: Ids, exact_L: Float64s) -> None:
    """Insert a row after all that are at least as similar; it replaces a member of its group, or the last."""
    slot = len(ids_L) - 1
    for position in range(len(ids_L)):
        if ids_L[position] >= 0 and groups_N[ids_L[position]] == groups_N[new_id]:
            if exact_L[position] >= similarity:
                return
            slot = position
            break
    while slot > 0 and similarity > exact_L[slot - 1]:
        ids_L[slot], exact_L[slot] = ids_L[slot - 1], exact_L[slot - 1]
        slot -= 1
    ids_L[slot], exact_L[slot] = new_id, similarity
