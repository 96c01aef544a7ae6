"""Histograms: edges that people can read, and counts between them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cocu import schemas
from cocu.curation.archives import Floats

BINS = 20
"""About how many bins a histogram has; their width is 1, 2 or 5 times a power of ten."""


def histogram_of(values_R: Floats) -> schemas.Histogram:
    """Return the histogram of values, float32 [R], with edges for them alone."""
    if not len(values_R):
        return schemas.Histogram(edges=[], counts=[])
    edges = find_edges(float(values_R.min()), float(values_R.max()))
    return schemas.Histogram(edges=list(edges), counts=count_bins(values_R, edges).tolist())


def find_edges(low: float, high: float, *, smallest_width: float = 0.0) -> tuple[float, ...]:
    """Return the edges of about BINS bins of equal width that hold all values from `low` to `high`.

    Edges are multiples of the width, which is 1, 2 or 5 times a power of ten and at least `smallest_width`.
    """
    width = max((high - low) / BINS, smallest_width, 1e-6 * max(abs(low), abs(high), 1e-6))
    exponent = math.floor(math.log10(width))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * 10.0**exponent >= width * (1 - 1e-9))
    if factor == 10:
        factor, exponent = 1, exponent + 1
    step = factor * 10.0**exponent
    numbers = range(math.floor(low / step), math.floor(high / step) + 2)
    # Rounded, because 3 × 0.1 is not 0.3.
    return tuple(round(number * step, max(0, -exponent)) for number in numbers)


def count_bins(values_R: Floats, edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Count values in bins, int64; without edges there is none. Compared are 32-bit floats, as filters do."""
    if not edges:
        return np.zeros(0, np.int64)
    bins_R = np.searchsorted(np.array(edges, np.float32), values_R, side="right") - 1
    bins = len(edges) - 1
    return np.bincount(np.clip(bins_R, 0, bins - 1), minlength=bins)
