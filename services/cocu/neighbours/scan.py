"""The exact search on the CPU: matrix products that find candidates, exact inner products that rank them."""

from __future__ import annotations

from concurrent.futures import Executor
from itertools import pairwise

import numba
import numpy as np

from cocu.neighbours.rows import LARGEST_NORM, Float32s, Float64s, Ids, Rows

__all__ = ["inner_product", "reaches", "rounding_bound", "scan"]

# A block of products stays in the cache between being computed and being looked through.
_QUERY_BLOCK = 2048
_ROW_BLOCK = 1024
_STRIDE = 256


def rounding_bound(dim: int) -> float:
    """How far a float32 product of two stored rows can be from exact, whatever the order of its additions.

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
    """Enter every row of the dataset into the lists of the queries, in place.

    own_Q: the group of each query, which its list leaves out. ids_QL and exact_QL start as NO_NEIGHBOUR and
    -inf.
    """
    products = np.empty(_QUERY_BLOCK * _ROW_BLOCK, np.float32)
    bound = rounding_bound(rows.dim)

    for first_id, tile_TD in rows.tiles(tile):
        for start in range(0, len(tile_TD), _ROW_BLOCK):
            block_TD = tile_TD[start : start + _ROW_BLOCK]
            for query in range(0, len(queries_QD), _QUERY_BLOCK):
                part_QD = queries_QD[query : query + _QUERY_BLOCK]
                shape = (len(part_QD), len(block_TD))
                products_QT = products[: shape[0] * shape[1]].reshape(shape)
                np.matmul(part_QD, block_TD.T, out=products_QT)
                edges = np.linspace(0, len(part_QD), threads + 1).astype(int).tolist()
                pending = [
                    pool.submit(
                        _enter,
                        products_QT[low:high],
                        part_QD[low:high],
                        block_TD,
                        first_id + start,
                        own_Q[query + low : query + high],
                        groups_N,
                        bound,
                        ids_QL[query + low : query + high],
                        exact_QL[query + low : query + high],
                    )
                    for low, high in pairwise(edges)
                    if low < high
                ]
                for outcome in pending:
                    outcome.result()


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _enter(
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


@numba.njit(nogil=True, cache=True, inline="never")
def reaches(products_T: Float32s, lowest: np.float32) -> bool:
    """Whether any product is that large."""
    # Counting all of them compiles to vector instructions; a maximum, or stopping early, does not.
    reaching = 0
    for row in range(len(products_T)):
        if products_T[row] >= lowest:
            reaching += 1
    return reaching > 0


@numba.njit(nogil=True, cache=True, fastmath=True, inline="never")
def inner_product(a_D: Float32s, b_D: Float32s) -> float:
    """Exact for rows read from float16: products are multiples of 2^-48 and add up to less than 2^5.

    So additions in any order, here and on any other device, give the same bits.
    """
    total = 0.0
    for d in range(len(a_D)):
        total += np.float64(a_D[d]) * np.float64(b_D[d])
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _insert(new_id: int, similarity: float, groups_N: Ids, ids_L: Ids, exact_L: Float64s) -> None:
    """Put a row behind those at least as similar, in place of its group's former member or the last."""
    place = len(ids_L) - 1
    for position in range(len(ids_L)):
        if ids_L[position] >= 0 and groups_N[ids_L[position]] == groups_N[new_id]:
            if exact_L[position] >= similarity:
                return
            place = position
            break
    while place > 0 and similarity > exact_L[place - 1]:
        ids_L[place], exact_L[place] = ids_L[place - 1], exact_L[place - 1]
        place -= 1
    ids_L[place], exact_L[place] = new_id, similarity
