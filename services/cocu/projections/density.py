"""A picture of how dense a map is, for pages that cannot draw the points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.projections.positions import Grid

SIDE = 512
"""Pixels of each side."""
_FAINTEST = 60
"""The value of a pixel with one point: it must still be seen."""
_WIDE_DOTS = 5_000
"""Up to so many points, each is drawn three pixels wide."""


def density(grid_P2: Grid) -> NDArray[np.uint8]:
    """Return how dense the points are, uint8 [SIDE, SIDE]: 0 where there is none, 255 where most are.

    It grows with the logarithm of their number. Rows go from the largest y down, as on a map.
    """
    columns_P, rows_P = (grid_P2.astype(np.int64) * SIDE >> 16).T
    flat_P = (SIDE - 1 - rows_P) * SIDE + columns_P
    counts_HW = np.bincount(flat_P, minlength=SIDE * SIDE).reshape(SIDE, SIDE)
    if len(grid_P2) <= _WIDE_DOTS:
        padded_HW = np.pad(counts_HW, 1)
        shifted = [
            padded_HW[down : down + SIDE, right : right + SIDE] for down in range(3) for right in range(3)
        ]
        counts_HW = np.maximum.reduce(shifted)
    largest = int(counts_HW.max(initial=0))
    shades = np.log1p(counts_HW) / np.log1p(max(largest, 1))
    scaled_HW = np.rint(_FAINTEST + (255 - _FAINTEST) * shades)
    return np.where(counts_HW > 0, scaled_HW, 0).astype(np.uint8)
