"""The perceptual hash: the coarse layout of an image in 64 bits, which tells copies from similar images.

Embeddings cannot do that, because they are trained to be equal for images with the same meaning. Two
photographs of zebras may have a cosine of 1.0, and a photograph and its recompressed copy one of 0.9.
"""

from __future__ import annotations

import numpy as np

from cocu.encoders.encoder import Pixels

__all__ = ["phash"]

_ROWS = 8
_COLUMNS = 9
# The sums over whole cells are comparable because all images of one encoder have one size.
_LUMINANCE = np.array([299, 587, 114], np.int64)


def phash(pixels_HWC: Pixels) -> int:
    """Compute the perceptual hash of an image: the "difference hash" (dHash) of N. Krawetz, 64 bits.

    Each bit says, for one of 8 × 9 cells, row by row, whether it is brighter than the cell to its left.
    pixels_HWC: uint8, at least 9 × 9, as `preprocess` returns them. Recompression, resizing and conversion to
    grey change a few bits; a different image changes about 32.
    """
    height, width, _ = pixels_HWC.shape
    grey_HW = pixels_HWC @ _LUMINANCE
    rows, columns = np.arange(_ROWS) * height // _ROWS, np.arange(_COLUMNS) * width // _COLUMNS
    sums = np.add.reduceat(np.add.reduceat(grey_HW, rows, axis=0), columns, axis=1)
    means = sums / np.diff(np.append(columns, width))
    brighter = means[:, 1:] > means[:, :-1]
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")
