"""A process that computes positions by umap-learn: arrays come in, a file, and positions go out over a pipe.

A process of its own, because umap-learn keeps Python's lock while it computes, cannot be stopped, and needs
memory that should go back afterwards. Nothing else imports it.

    python -m cocu.projections.umap_process < arrays.npz > positions.npy
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from cocu.curation import numba_cache

NOT_INSTALLED = 3
"""The exit status where umap-learn is not installed."""

_SECONDS = 1.0


def main() -> None:
    """Read arrays, compute, write the positions."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # What a library prints must not get between the numbers.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    arrays = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    if find_spec("umap") is None:
        sys.exit(NOT_INSTALLED)
    numba_cache.keep_those_of_others()
    warnings.simplefilter("ignore")
    umap = import_module("umap")
    ids_LK = arrays["ids_LK"]
    reducer = umap.UMAP(
        n_neighbors=ids_LK.shape[1],
        metric="cosine",
        init=arrays["init_L2"],
        precomputed_knn=(ids_LK, arrays["distances_LK"], None),
        random_state=int(arrays["seed"]),
        n_jobs=1,
    )
    positions_L2 = reducer.fit_transform(arrays["init_L2"])
    # A pipe has no position, which numpy asks for.
    positions = io.BytesIO()
    np.save(positions, np.asarray(positions_L2, np.float32), allow_pickle=False)
    with output:
        output.write(positions.getbuffer())


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone: nobody waits for the positions any more."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
