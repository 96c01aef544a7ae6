"""Search among the text embeddings of concepts: nearest to a vector, nearest to each of many, pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR, Floats, Ids

Float32s = NDArray[np.float32]

BLOCK = 1_024
"""Rows that are computed at once."""
CELLS = 1 << 24
"""Cosines of rows with all concepts that are in memory at once."""


def cosines(concepts_VD: Floats, numbers_K: Ids, query_D: Floats) -> Float32s:
    """Compute the cosines of these concepts with a vector of any length, float32 [K]; 0 for the zero vector.

    concepts_VD: of unit norm. A cosine depends on its two vectors alone, not on the others asked for.
    """
    length = float(np.linalg.norm(query_D.astype(np.float64)))
    unit_D = (query_D / length if length else query_D).astype(np.float32)
    # Products and sums of one row at a time: a matrix product rounds otherwise for other rows beside it.
    rounded_K: Float32s = np.clip((concepts_VD[numbers_K] * unit_D).sum(axis=1), -1.0, 1.0)
    return rounded_K


def rank(cosines_K: Floats, numbers_K: Ids, *, limit: int) -> Ids:
    """Return the positions of the `limit` highest cosines, highest first, ties by number."""
    return np.lexsort((numbers_K, -cosines_K))[:limit]


def nearest(concepts_VD: Floats, query_D: Floats, *, limit: int) -> tuple[Ids, Float32s]:
    """Find the `limit` concepts nearest to a vector: numbers and cosines, nearest first, ties by number.

    All V are compared; memory is 4 bytes a concept.
    """
    candidates_K = np.arange(len(concepts_VD))
    if limit + BLOCK < len(candidates_K):
        rough_V = concepts_VD @ np.asarray(query_D, np.float32)
        # More than the limit: nearly equal cosines may change places when they are computed again.
        candidates_K = np.argpartition(-rough_V, limit + BLOCK)[: limit + BLOCK]
    cosines_K = cosines(concepts_VD, candidates_K, query_D)
    order_K = rank(cosines_K, candidates_K, limit=limit)
    return candidates_K[order_K], cosines_K[order_K]


def nearest_each(concepts_VD: Floats, queries_PD: Floats) -> tuple[Ids, Float32s]:
    """Find the nearest concept of each of P unit vectors, and the cosines; of ties the lowest number."""
    numbers_P = np.zeros(len(queries_PD), np.int64)
    cosines_P = np.zeros(len(queries_PD), np.float32)
    block = max(1, CELLS // max(len(concepts_VD), 1))
    for start in range(0, len(queries_PD), block):
        part = slice(start, start + block)
        cosines_BV = np.asarray(queries_PD[part], np.float32) @ concepts_VD.T
        numbers_P[part] = cosines_BV.argmax(axis=1)
        cosines_P[part] = np.clip(cosines_BV.max(axis=1), -1.0, 1.0)
    return numbers_P, cosines_P


def pairs(neighbours_VL: Ids, concepts_VD: Floats) -> tuple[Ids, Ids, Float32s]:
    """Return each pair of concepts of which one is a neighbour of the other, most similar first.

    neighbours_VL: per concept the numbers of others, NO_NEIGHBOUR where there are fewer. Returns the lower
    numbers, the higher numbers and the cosines; ties are ordered by the numbers.
    """
    count = len(neighbours_VL)
    own_M = np.repeat(np.arange(count), neighbours_VL.shape[1])
    other_M = neighbours_VL.reshape(-1)
    own_M, other_M = own_M[other_M != NO_NEIGHBOUR], other_M[other_M != NO_NEIGHBOUR]
    # A pair as one number, so that a pair found from both ends is kept once.
    both_P = np.unique(np.minimum(own_M, other_M) * count + np.maximum(own_M, other_M))
    first_P, second_P = both_P // max(count, 1), both_P % max(count, 1)
    cosines_P = np.zeros(len(both_P), np.float32)
    for start in range(0, len(both_P), BLOCK):
        part = slice(start, start + BLOCK)
        cosines_P[part] = (concepts_VD[first_P[part]] * concepts_VD[second_P[part]]).sum(axis=1)
    cosines_P = np.clip(cosines_P, -1.0, 1.0)
    order_P = np.lexsort((second_P, first_P, -cosines_P))
    return first_P[order_P], second_P[order_P], cosines_P[order_P]
