"""Compressed rows: choosing and reordering the lists of different lengths that `archives` stores flat."""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Ids

__all__ = ["offsets_of", "owners", "take"]


def offsets_of(lengths_R: Ids) -> Ids:
    """The offsets [R+1] of lists of these lengths."""
    offsets_R1 = np.zeros(len(lengths_R) + 1, np.int64)
    np.cumsum(lengths_R, out=offsets_R1[1:])
    return offsets_R1


def owners(offsets_R1: Ids) -> Ids:
    """For every flat element the list it belongs to."""
    return np.repeat(np.arange(len(offsets_R1) - 1), np.diff(offsets_R1))


def take(offsets_R1: Ids, chosen_K: Ids) -> tuple[Ids, Ids]:
    """The lists chosen, in that order: their offsets [K+1] and where their elements are in the flat array."""
    lengths_K = offsets_R1[chosen_K + 1] - offsets_R1[chosen_K]
    offsets_K1 = offsets_of(lengths_K)
    return offsets_K1, np.repeat(offsets_R1[chosen_K] - offsets_K1[:-1], lengths_K) + np.arange(
        offsets_K1[-1]
    )
