"""Sorting of short lists inside compiled loops, where numpy's sort would cost more to call than to run.

As for `products`: after a change here remove `__pycache__`; compiled callers are kept by their own file.
"""

from __future__ import annotations

import numba

from cocu.curation.archives import Ids

_SHORT_RUN = 24


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sort_keys(keys: Ids, scratch: Ids, count: int) -> None:
    """Sort keys[:count] in place: insertion sort for the usual few dozen, merging sorted runs beyond."""
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
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
