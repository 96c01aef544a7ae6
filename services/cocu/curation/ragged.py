"""Ragged arrays in compressed rows (CSR): selecting and reordering the lists that `archives` stores flat."""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Ids

__all__ = ["offsets_of", "owners", "take"]


def offsets_of(lengths_R: Ids) -> Ids:
    """Return the offsets [R+1] of lists of these lengths."""
    offsets_R1 = np.zeros(len(lengths_R) + 1, np.int64)
    np.cumsum(lengths_R, out=offsets_R1[1:])
    return offsets_R1


def owners(offsets_R1: Ids) -> Ids:
    """Return for every flat element the number of its list."""
    return np.repeat(np.arange(len(offsets_R1) - 1), np.diff(offsets_R1))


def take(offsets_R1: Ids, chosen_K: Ids) -> tuple[Ids, Ids]:
    """Select lists in the given order; return their offsets [K+1] and their elements' flat positions."""
    lengths_K = offsets_R1[chosen_K + 1] - offsets_R1[chosen_K]
    offsets_K1 = offsets_of(lengths_K)
    return offsets_K1, np.repeat(offsets_R1[chosen_K] - offsets_K1[:-1], lengths_K) + np.arange(
        offsets_K1[-1]
    )
