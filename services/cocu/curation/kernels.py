"""Small compiled functions that the loops of ranking, expansion and clustering call.

Numba stores compiled code by the file of the calling loop and does not notice a change in this file: after a
change here, delete `__pycache__` in this folder.
"""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Floats, Ids
from cocu.curation.numba_cache import compiled

__all__ = ["dot", "sort_keys"]

_SHORT_RUN = 24


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc"})
def dot(left_D: Floats, right_D: Floats) -> np.floating:
    """Return the inner product of two rows of one dtype, summed in that dtype.

    The compiler may regroup the sum to use vector registers. The result is a pure function of the two rows on
    one model of processor and differs in the last bits between models, as a BLAS product does. It depends
    neither on the position of a row nor on what is computed beside it.
    """
    total = left_D.dtype.type(0)
    for d in range(left_D.shape[0]):
        total += left_D[d] * right_D[d]
    return total


@compiled(nogil=True, error_model="numpy")
def sort_keys(keys: Ids, scratch: Ids, count: int) -> None:
    """Sort keys[:count] in place, for short lists, where calling numpy's sort would cost more than sorting.

    It is an insertion sort for the usual few dozen keys and a merge of sorted runs beyond that. `scratch`
    must have room for `count` keys.
    """
    for start in range(0, count, _SHORT_RUN):
        for position in range(start + 1, min(start + _SHORT_RUN, count)):
            key = keys[position]
            hole = position
            while hole > start and keys[hole - 1] > key:
                keys[hole] = keys[hole - 1]
                hole -= 1
            keys[hole] = key
    run = _SHORT_RUN
    while run < count:
        for start in range(0, count, 2 * run):
            _merge(keys, scratch, start, min(start + run, count), min(start + 2 * run, count))
        for position in range(count):
            keys[position] = scratch[position]
        run *= 2


@compiled(nogil=True, error_model="numpy")
def _merge(keys: Ids, merged: Ids, start: int, middle: int, end: int) -> None:
    left = start
    right = middle
    for position in range(start, end):
        if left < middle and (right >= end or keys[left] <= keys[right]):
            merged[position] = keys[left]
            left += 1
        else:
            merged[position] = keys[right]
            right += 1
