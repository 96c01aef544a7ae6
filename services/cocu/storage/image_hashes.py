"""Compares images that were read from a shard with their hashes, before they are used.

Each image is hashed once per process: correct images are remembered until their file changes. So a stream
hashes only in its first epoch.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.curation.archives import Ids
from cocu.storage import checksums
from cocu.storage.objects import ObjectStore

REMEMBERED = 4096
"""Shards whose checked images a process remembers: 10 kB each."""

_Bits = NDArray[np.bool_]


class _Checked:
    """Which rows of the shards used last have a correct image."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[object, _Bits]] = OrderedDict()

    def of(self, name: str, identity: object, count: int) -> _Bits:
        with self._lock:
            known = self._known.get(name)
            if known is None or known[0] != identity or len(known[1]) != count:
                known = (identity, np.zeros(count, bool))
                self._known[name] = known
            self._known.move_to_end(name)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return known[1]


_checked = _Checked()


def check(
    objects: ObjectStore,
    path: str,
    rows_B: Ids,
    image: Callable[[int], bytes | memoryview],
    hashes_N: pa.Array,
    *,
    identity: object,
) -> None:
    """Compare images of a shard with their SHA-256 (32 bytes each); images without bytes are skipped.

    image: the bytes of the image at a position in `rows_B`. identity: of the file when it was read, from
    `objects.identity`. Raises IntegrityError for the first that is not what was stored.
    """
    checked_N = _checked.of(f"{objects.scratch}/{path}", identity, len(hashes_N))
    for position in np.flatnonzero(~checked_N[rows_B]).tolist():
        row = int(rows_B[position])
        if data := image(position):
            check_one(path, row, data, hashes_N[row].as_py())
        checked_N[row] = True


def check_one(path: str, row: int, image: bytes | memoryview, expected: bytes) -> None:
    """Compare one image with its SHA-256. Raises IntegrityError."""
    digest = hashlib.sha256(image).digest()
    if digest != expected:
        raise checksums.damaged(
            path, f"the image of row {row} has SHA-256 {digest.hex()[:16]}…, not {expected.hex()[:16]}…"
        )
