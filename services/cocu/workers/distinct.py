"""Neighbour lists as curation takes them: without the image, its duplicates, and what is not embedded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR, Ids
from cocu.neighbours.duplicates import distinct_neighbours
from cocu.neighbours.search import available_engine
from cocu.storage import arrays, paths
from cocu.storage.catalog.curations import CurationShardRecord
from cocu.workers.snapshot import Snapshot


@dataclass(frozen=True)
class DistinctLists:
    """Neighbours of B samples: global rows, most similar first, NO_NEIGHBOUR where there are fewer than L."""

    anchors_B: Ids
    ids_BL: Ids
    similarities_BL: NDArray[np.float16]


def raw_lists(snapshot: Snapshot, shard: CurationShardRecord) -> tuple[Ids, NDArray[np.float16]]:
    """What `neighbours` found for the samples of a shard, memory-mapped: ids and similarities [n, K]."""
    path = paths.neighbours(snapshot.curation.id, shard.shard_id)
    found = arrays.read_arrays(snapshot.platform.objects, path)
    return found["ids_NK"].astype(np.int64, copy=False), found["similarities_NK"].astype(
        np.float16, copy=False
    )


def distinct_lists(snapshot: Snapshot, shard: CurationShardRecord, local_B: Ids) -> DistinctLists:
    """The neighbours of these samples of a shard (their rows in it)."""
    ids_NK, similarities_NK = raw_lists(snapshot, shard)
    anchors_B = local_B + shard.first_row
    found = distinct_neighbours(
        snapshot.embeddings,
        anchors_B,
        ids_BK=ids_NK[local_B],
        similarities_BK=similarities_NK[local_B],
        groups_N=snapshot.duplicate_groups,
        count=snapshot.parameters.neighbours,
        engine=available_engine(),
    )
    similarities_BL = np.asarray(found.similarities_BL, dtype=np.float16)
    return _without_unembedded(snapshot, DistinctLists(anchors_B, found.ids_BL, similarities_BL))


def _without_unembedded(snapshot: Snapshot, lists: DistinctLists) -> DistinctLists:
    """Drops neighbours without an embedding, and every neighbour of an image without one.

    Their similarity is exactly 0, so few rows have to be looked at.
    """
    ids_BL, similarities_BL = lists.ids_BL.copy(), lists.similarities_BL.copy()
    suspect_BL = (ids_BL != NO_NEIGHBOUR) & (similarities_BL == 0)
    if not suspect_BL.any():
        return lists
    drop_BL = np.zeros_like(suspect_BL)
    drop_BL[suspect_BL] = snapshot.without_embedding(ids_BL[suspect_BL])
    drop_BL |= snapshot.without_embedding(lists.anchors_B)[:, None]
    # What is kept moves to the front, in its order.
    order_BL = np.argsort(drop_BL, axis=1, kind="stable")
    ids_BL[drop_BL] = NO_NEIGHBOUR
    similarities_BL[drop_BL] = 0
    return DistinctLists(
        lists.anchors_B,
        np.take_along_axis(ids_BL, order_BL, axis=1),
        np.take_along_axis(similarities_BL, order_BL, axis=1),
    )
