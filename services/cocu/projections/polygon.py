"""Which points of a map a polygon encloses: the lasso."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.curation.numba_cache import compiled

Coordinates = NDArray[np.uint16]
Corners = NDArray[np.int64]


def enclosed(x_P: Coordinates, y_P: Coordinates, corners: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which points a polygon encloses by the even–odd rule, bool [P].

    corners: of the closed polygon, which may cross itself; less than three enclose nothing. A point is
    inside when a ray from it to the right crosses an odd number of edges. An edge is crossed when one end is
    above the point (y larger) and the other is not, and the edge meets the ray to the right of the point.
    All arithmetic is exact: a browser that compares `x < (x2 - x1) * (y - y1) / (y2 - y1) + x1` in 64-bit
    floats finds the same, for a quotient of such integers is an integer, or further from every integer than
    rounding reaches.
    """
    corners_C2 = np.array(corners, np.int64).reshape(-1, 2)
    inside_P = np.zeros(len(x_P), np.bool_)
    if len(corners_C2) >= 3:
        _mark(np.ascontiguousarray(x_P), np.ascontiguousarray(y_P), corners_C2, inside_P)
    return inside_P


@compiled(nogil=True)
def _mark(x_P: Coordinates, y_P: Coordinates, corners_C2: Corners, inside_P: NDArray[np.bool_]) -> None:
    left, right = corners_C2[:, 0].min(), corners_C2[:, 0].max()
    low, high = corners_C2[:, 1].min(), corners_C2[:, 1].max()
    for point in range(len(x_P)):
        x, y = np.int64(x_P[point]), np.int64(y_P[point])
        if x < left or x > right or y < low or y > high:
            continue
        inside = False
        last = len(corners_C2) - 1
        for corner in range(len(corners_C2)):
            x1, y1 = corners_C2[last, 0], corners_C2[last, 1]
            x2, y2 = corners_C2[corner, 0], corners_C2[corner, 1]
            last = corner
            if (y1 > y) == (y2 > y):
                continue
            # x < (x2 - x1) * (y - y1) / (y2 - y1) + x1, without the division.
            difference = (x - x1) * (y2 - y1) - (x2 - x1) * (y - y1)
            if (difference < 0) == (y2 > y1) and difference != 0:
                inside = not inside
        inside_P[point] = inside
