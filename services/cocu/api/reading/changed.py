"""Which archives were drawn from other neighbours than in the curation before the dataset grew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord


def changed_lists(
    platform: Platform, record: CurationRecord, shard: CurationShardRecord
) -> NDArray[np.bool_]:
    """For each sample of a shard whether its neighbours are new; all are, where there is nothing before."""
    everything_N = np.ones(shard.samples, bool)
    if "compared_with" not in (record.statistics or {}):
        return everything_N
    path = paths.changed_lists(record.id, shard.shard_id)
    if not platform.objects.exists(path):  # a shard that the curation before did not have
        return everything_N
    return arrays.read_arrays(platform.objects, path)["changed_N"].astype(bool)
