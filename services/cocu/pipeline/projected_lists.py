"""Neighbour lists that a curation has stored, for the projection of the same samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord
from cocu.catalog.projections import ProjectedShard, ProjectionRecord
from cocu.catalog.states import COMPLETED_CURATIONS
from cocu.curation.archives import Ids
from cocu.errors import IntegrityError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths

logger = logging.getLogger(__name__)

LOOKED_AT = 50
"""Of a dataset's curations, so many of the newest may have the lists."""


def find_lists(
    platform: Platform, record: ProjectionRecord, shards: Sequence[ProjectedShard]
) -> tuple[Ids, NDArray[np.floating[Any]]] | None:
    """Return ids and similarities [N, K] for the rows of a projection, from the newest completed curation.

    None where none has the same encoder and exactly these shards, or its files cannot be read. Lists of
    different curations differ in length only, and where an inverted file missed some.
    """
    runs = curations.list_page(
        platform.catalog,
        tenant=record.tenant,
        limit=LOOKED_AT,
        dataset_id=record.dataset_id,
        states=COMPLETED_CURATIONS,
        newest_first=True,
    )
    for run in runs.items:
        if run.encoder_hash == record.encoder_hash and _shows_the_same(platform, run, shards):
            try:
                return _read(platform, run, shards)
            except (NotFoundError, IntegrityError) as error:
                logger.warning("neighbour lists of a curation are not used for a projection: %s", error)
                return None
    return None


def _shows_the_same(platform: Platform, run: CurationRecord, shards: Sequence[ProjectedShard]) -> bool:
    own = [
        ProjectedShard(shard.shard_id, shard.first_row, shard.samples, shard.revision)
        for shard in curations.shards(platform.catalog, curation_id=run.id)
        if shard.usable
    ]
    # Lists name rows of the snapshot: these are rows of the projection where no shard is left out.
    is_gapless = sum(shard.samples for shard in shards) == run.samples
    return is_gapless and own == list(shards)


def _read(
    platform: Platform, run: CurationRecord, shards: Sequence[ProjectedShard]
) -> tuple[Ids, NDArray[np.floating[Any]]]:
    stored = [
        arrays.read_arrays(platform.objects, paths.neighbours(run.id, shard.shard_id)) for shard in shards
    ]
    ids_NK: Ids = np.concatenate([lists["ids_NK"] for lists in stored])
    return ids_NK, np.concatenate([lists["similarities_NK"] for lists in stored])
