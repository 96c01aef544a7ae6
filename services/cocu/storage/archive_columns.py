"""Columns of archives as objects: one small file per shard, built when its curation is published."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from cocu.curation.archive_columns import ArchiveColumns
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage import arrays, paths
from cocu.storage.objects import ObjectStore

logger = logging.getLogger(__name__)


def build(
    objects: ObjectStore, *, curation_id: str, shard_id: str, content_hash: str, index: ConceptIndex
) -> ArchiveColumns:
    """Compute the columns of a shard from its concept index, and store them.

    content_hash: of the shard's archives. It is part of the path, as it is of the index's.
    """
    columns = ArchiveColumns.of(index)
    path = paths.archive_columns(curation_id, shard_id, content_hash)
    arrays.write_arrays(objects, path, columns.to_arrays())
    return columns


def read(
    objects: ObjectStore,
    *,
    curation_id: str,
    shard_id: str,
    content_hash: str,
    index: Callable[[], ConceptIndex],
) -> ArchiveColumns:
    """Read the columns of a shard into memory; build them where they are missing or damaged.

    index: gives the shard's concept index, for building: what an earlier version published has no columns.
    Raises what `index` raises.
    """
    path = paths.archive_columns(curation_id, shard_id, content_hash)
    try:
        stored = arrays.read_arrays(objects, path)
        # Copies: a mapped file would keep a descriptor open for each shard.
        return ArchiveColumns(**{name: np.array(array) for name, array in stored.items()})
    except (NotFoundError, IntegrityError, TypeError) as error:
        if not isinstance(error, NotFoundError):
            logger.warning("the columns of archives are built again: %s", error)
        return build(
            objects, curation_id=curation_id, shard_id=shard_id, content_hash=content_hash, index=index()
        )
