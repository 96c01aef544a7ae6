"""A picture's coarse layout in 64 bits: what tells a copy from another picture of the same kind of thing.

Embeddings cannot: they are made to be equal where pictures mean the same. Two photographs of zebras may
have cosine 1.0 while a photograph and its recompressed copy have 0.9.
"""

from __future__ import annotations

import numpy as np

from cocu.encoders.encoder import Pixels

__all__ = ["fingerprint"]

_ROWS = 8
_COLUMNS = 9
# Sums over whole cells stay comparable between pictures of one encoder, which have one size.
_LUMINANCE = np.array([299, 587, 114], np.int64)


def fingerprint(pixels_HWC: Pixels) -> int:
    """Say for each of 8 × 9 cells of a picture, row by row, whether it is brighter than the one to its left.

    pixels_HWC: uint8, at least 9 × 9, as `preprocess` returns them. Returns 64 bits. Recompressing,
    resizing and turning grey change a few of them, another picture changes about 32. (The "difference hash"
    of N. Krawetz.)
    """
    height, width, _ = pixels_HWC.shape
    grey_HW = pixels_HWC @ _LUMINANCE
    rows, columns = np.arange(_ROWS) * height // _ROWS, np.arange(_COLUMNS) * width // _COLUMNS
    sums = np.add.reduceat(np.add.reduceat(grey_HW, rows, axis=0), columns, axis=1)
    means = sums / np.diff(np.append(columns, width))
    brighter = means[:, 1:] > means[:, :-1]
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")
