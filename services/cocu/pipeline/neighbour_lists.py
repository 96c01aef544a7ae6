"""Neighbour lists as curation uses them: without the image, its duplicates, and samples not embedded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.catalog.curations import CurationShardRecord
from cocu.curation.archives import NO_NEIGHBOUR, Ids
from cocu.neighbours.duplicates import distinct_neighbours
from cocu.neighbours.exact import available_engine
from cocu.pipeline.context import CurationContext
from cocu.storage import arrays, paths


@dataclass(frozen=True)
class DeduplicatedLists:
    """Neighbours of B samples: global rows, most similar first, NO_NEIGHBOUR where there are fewer than L."""

    anchors_B: Ids
    ids_BL: Ids
    similarities_BL: NDArray[np.float16]


def read_lists(context: CurationContext, shard: CurationShardRecord) -> tuple[Ids, NDArray[np.float16]]:
    """Return the lists of a shard that stage `neighbours` stored: ids and similarities, both [n, K]."""
    path = paths.neighbours(context.curation.id, shard.shard_id)
    lists = arrays.read_arrays(context.platform.objects, path)
    return lists["ids_NK"].astype(np.int64, copy=False), lists["similarities_NK"].astype(
        np.float16, copy=False
    )


def deduplicated(context: CurationContext, shard: CurationShardRecord, local_B: Ids) -> DeduplicatedLists:
    """Return the neighbours of samples of a shard, given as rows of the shard."""
    ids_NK, similarities_NK = read_lists(context, shard)
    return without_copies(
        context, local_B + shard.first_row, ids_BK=ids_NK[local_B], similarities_BK=similarities_NK[local_B]
    )


def without_copies(
    context: CurationContext, anchors_B: Ids, *, ids_BK: Ids, similarities_BK: NDArray[np.float16]
) -> DeduplicatedLists:
    """Return the neighbours of samples, given as global rows with their raw lists."""
    neighbours = distinct_neighbours(
        context.embeddings,
        anchors_B,
        ids_BK=ids_BK,
        similarities_BK=similarities_BK,
        groups_N=context.duplicate_groups,
        count=context.parameters.neighbours,
        engine=available_engine(),
    )
    similarities_BL = np.asarray(neighbours.similarities_BL, dtype=np.float16)
    return _without_unembedded(context, DeduplicatedLists(anchors_B, neighbours.ids_BL, similarities_BL))


def _without_unembedded(context: CurationContext, lists: DeduplicatedLists) -> DeduplicatedLists:
    """Remove neighbours without an embedding, and all neighbours of an image without one.

    Their similarity is exactly 0, so only such entries are looked up.
    """
    ids_BL, similarities_BL = lists.ids_BL.copy(), lists.similarities_BL.copy()
    suspect_BL = (ids_BL != NO_NEIGHBOUR) & (similarities_BL == 0)
    if not suspect_BL.any():
        return lists
    drop_BL = np.zeros_like(suspect_BL)
    drop_BL[suspect_BL] = context.without_embedding(ids_BL[suspect_BL])
    drop_BL |= context.without_embedding(lists.anchors_B)[:, None]
    # The remaining neighbours move to the front and keep their order.
    order_BL = np.argsort(drop_BL, axis=1, kind="stable")
    ids_BL[drop_BL] = NO_NEIGHBOUR
    similarities_BL[drop_BL] = 0
    return DeduplicatedLists(
        lists.anchors_B,
        np.take_along_axis(ids_BL, order_BL, axis=1),
        np.take_along_axis(similarities_BL, order_BL, axis=1),
    )
