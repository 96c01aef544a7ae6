"""Arrays on files, memory-mapped when read: embeddings, neighbours, mentions, parts of statistics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Mentions
from cocu.storage.objects import ObjectStore, StoredObject


def write_embeddings(objects: ObjectStore, path: str, embeddings_ND: NDArray[np.floating]) -> StoredObject:
    """Write as float16 .npy. Raises ValueError for anything but finite [N, D]."""
    raise NotImplementedError


def read_embeddings(objects: ObjectStore, path: str) -> NDArray[np.float16]:
    """Memory-map float16 [N, D]. Raises NotFoundError, IntegrityError."""
    raise NotImplementedError


def write_arrays(objects: ObjectStore, path: str, arrays: Mapping[str, NDArray[np.generic]]) -> StoredObject:
    """Write named arrays of any shapes as one Arrow file (neighbours: ids_NL, similarities_NL; statistics)."""
    raise NotImplementedError


def read_arrays(objects: ObjectStore, path: str) -> dict[str, NDArray[np.generic]]:
    """Memory-map named arrays, read only, without copying. Raises NotFoundError, IntegrityError."""
    raise NotImplementedError


def write_mentions(objects: ObjectStore, path: str, mentions: Mentions) -> StoredObject:
    """Write mentions as one memory-mappable file."""
    raise NotImplementedError


def read_mentions(objects: ObjectStore, path: str) -> Mentions:
    """Memory-map mentions. Raises NotFoundError, IntegrityError."""
    raise NotImplementedError


def concatenate_mentions(parts: list[Mentions]) -> Mentions:
    """The mentions of several shards as one, in the order given."""
    raise NotImplementedError
