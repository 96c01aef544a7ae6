"""Which archives of a curation differ from those before the dataset grew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.platform import Platform
from cocu.storage import arrays, paths


def changed_lists(
    platform: Platform, record: CurationRecord, shard: CurationShardRecord
) -> NDArray[np.bool_]:
    """Return for each sample of a shard whether its neighbours differ from those in the curation before.

    All are true where there is no curation before, or where that curation did not have the shard.
    """
    all_changed_N = np.ones(shard.samples, bool)
    if "compared_with" not in (record.statistics or {}):
        return all_changed_N
    path = paths.changed_lists(record.id, shard.shard_id)
    if not platform.objects.exists(path):
        return all_changed_N
    return arrays.read_arrays(platform.objects, path)["changed_N"].astype(bool)
