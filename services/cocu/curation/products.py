"""Inner products of single rows, for the compiled loops of ranking and clustering.

Numba keeps compiled code on disk by the file of the calling loop and does not see a change made here: after
one, remove `__pycache__` in this folder.
"""

from __future__ import annotations

import numba
import numpy as np

from cocu.curation.archives import Floats


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def dot(left_D: Floats, right_D: Floats) -> np.floating:
    """The inner product of two rows of one dtype, summed in that dtype.

    Sums may be regrouped so that they run in vector registers: the result is a pure function of the two rows
    on one model of processor and differs in the last bits between models, as a BLAS product does. Neither the
    position of a row nor what is computed beside it plays a part.
    """
    total = left_D.dtype.type(0)
    for d in range(left_D.shape[0]):
        total += left_D[d] * right_D[d]
    return total
