"""The embeddings of many shards, without a permanent descriptor and memory map for each of them.

A process may have 1,024 descriptors (256 on some systems) and 65,530 maps; a dataset may have more shards.
"""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cocu.errors import IntegrityError
from cocu.storage import arrays
from cocu.storage.objects import ObjectStore

Float16s = NDArray[np.float16]

_MAX_OPEN = 1_024
_MIN_OPEN = 16
_SHARE = 8
"""One `EmbeddingFiles` uses at most this part (1/8) of the descriptors of the process."""
_HELD_BYTES = 16 << 20
"""Files that are together no larger are read into memory: mapping thousands of tiny files is slow."""


class EmbeddingPart(NamedTuple):
    """A file of embeddings (path None: no file), its number of rows, and how often it was replaced."""

    path: str | None
    rows: int
    revision: int = 0


class EmbeddingFile:
    """Float16 [n, D] in a file that is mapped when it is read; can be indexed by rows like an array.

    Indexing returns a view of the map, or a copy where numpy copies. It raises NotFoundError and
    IntegrityError; creating the object raises nothing.
    """

    dtype = np.dtype(np.float16)
    ndim = 2

    def __init__(self, files: EmbeddingFiles, path: str, shape: tuple[int, int]) -> None:
        self._files, self._path, self.shape = files, path, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Float16s:
        part: Float16s = self._files.opened(self._path, self.shape)[rows]
        return part


class EmbeddingFiles:
    """Opens embeddings by path and keeps those used last open, as many as the process can afford."""

    def __init__(self, objects: ObjectStore, *, max_open: int | None = None) -> None:
        self._objects = objects
        self._max_open = max_open or affordable()
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Float16s] = OrderedDict()

    def of(self, parts: Sequence[EmbeddingPart]) -> list[EmbeddingFile | Float16s]:
        """The embeddings of each part; zeros, which take no memory, for a part without a path.

        Raises ValueError where no part has a path, else as `arrays.read_embeddings`.
        """
        first = next((part.path for part in parts if part.path is not None), None)
        if first is None:
            raise ValueError("there must be at least one shard with embeddings")
        dimensions = arrays.read_embeddings(self._objects, first).shape[1]
        rows = sum(part.rows for part in parts)
        if len(parts) > 1 and rows * dimensions * 2 <= _HELD_BYTES:
            return _held.get(self._objects, tuple(parts), dimensions)
        zero = np.zeros((), np.float16)
        return [
            np.broadcast_to(zero, (part.rows, dimensions))
            if part.path is None
            else EmbeddingFile(self, part.path, (part.rows, dimensions))
            for part in parts
        ]

    def opened(self, path: str, shape: tuple[int, int]) -> Float16s:
        """The map of a file of this shape."""
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
        embeddings_ND = _checked(arrays.read_embeddings(self._objects, path), path, shape)
        with self._lock:
            self._open[path] = embeddings_ND
            while len(self._open) > self._max_open:
                self._open.popitem(last=False)
        return embeddings_ND


class _Held:
    """The small embeddings that were read last: a worker needs the same ones for every task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[ObjectStore, tuple[EmbeddingPart, ...]] | None = None
        self._parts: list[EmbeddingFile | Float16s] = []

    def get(
        self, objects: ObjectStore, parts: tuple[EmbeddingPart, ...], dimensions: int
    ) -> list[EmbeddingFile | Float16s]:
        with self._lock:
            if self._key is None or self._key[0] is not objects or self._key[1] != parts:
                self._parts = _read(objects, parts, dimensions)
                self._key = objects, parts
            return list(self._parts)


_held = _Held()


def _read(
    objects: ObjectStore, parts: Sequence[EmbeddingPart], dimensions: int
) -> list[EmbeddingFile | Float16s]:
    all_ND = np.zeros((sum(part.rows for part in parts), dimensions), np.float16)
    arrays_read: list[EmbeddingFile | Float16s] = []
    start = 0
    for part in parts:
        part_ND = all_ND[start : start + part.rows]
        if part.path is not None:
            part_ND[:] = _checked(arrays.read_embeddings(objects, part.path), part.path, part_ND.shape)
        part_ND.flags.writeable = False
        arrays_read.append(part_ND)
        start += part.rows
    return arrays_read


def affordable() -> int:
    """How many maps may stay open: a share of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MAX_OPEN * _SHARE if soft == resource.RLIM_INFINITY else soft
    return max(_MIN_OPEN, min(_MAX_OPEN, allowed // _SHARE))


def _checked(embeddings_ND: Float16s, path: str, shape: tuple[int, ...]) -> Float16s:
    if embeddings_ND.shape != shape:
        raise IntegrityError(f"object {path} holds {list(embeddings_ND.shape)} numbers, not {list(shape)}")
    return embeddings_ND
