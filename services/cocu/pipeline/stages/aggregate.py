"""aggregate: the results of the whole snapshot: duplicate groups, all mentions, merged statistics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cocu.catalog.curations import CurationShardRecord
from cocu.curation.archives import NO_NEIGHBOUR, Ids, Mentions
from cocu.curation.calibration import calibrate, calibration_rows
from cocu.curation.statistics import Statistics
from cocu.neighbours.duplicates import group_duplicates
from cocu.pipeline.context import CurationContext
from cocu.pipeline.lease import Lease
from cocu.pipeline.neighbour_lists import DeduplicatedLists, deduplicated, read_lists
from cocu.storage import arrays, paths, tables


def run(lease: Lease) -> None:
    """Write the duplicate groups, the mentions and the statistics of the snapshot."""
    context = CurationContext.of(lease.platform, lease.task.owner_key)
    _group(lease, context)
    lease.advance()
    _merge_mentions(context)
    lease.advance()
    _merge_statistics(context)


def _group(lease: Lease, context: CurationContext) -> None:
    objects, curation = lease.platform.objects, context.curation
    hashes: list[bytes] = []
    has_image: list[NDArray[np.bool_]] = []
    for shard in context.shards:
        path = paths.samples(curation.dataset_id, shard.shard_id)
        table = tables.read_table(objects, path, columns=["sha256", "size"])
        hashes += table["sha256"].to_pylist()
        has_image.append(table["size"].to_numpy() > 0)
        lease.advance()
    duplicates = group_duplicates(
        hashes=hashes,
        lists=_all_lists_with_copies(context),
        threshold=context.parameters.duplicate_similarity,
        phashes_N=context.phashes(),
        has_phash_N=np.concatenate(has_image),
    )
    counts = {"exact": duplicates.exact, "near": duplicates.near, "saturated": duplicates.saturated}
    arrays.write_arrays(
        objects,
        paths.duplicates(curation.id),
        {"groups_N": duplicates.groups_N} | {name: np.array([count]) for name, count in counts.items()},
    )


def _all_lists_with_copies(context: CurationContext) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
    for shard in context.shards:
        if shard.shard_id in context.searched:
            yield read_lists(context, shard)
        else:
            yield np.full((shard.samples, 1), NO_NEIGHBOUR), np.zeros((shard.samples, 1), np.float16)


def _merge_mentions(context: CurationContext) -> None:
    parts = [partial(_mentions, context, shard) for shard in context.shards]
    path = paths.all_mentions(context.curation.id)
    arrays.write_mentions(context.platform.objects, path, arrays.concatenate_mentions(parts))


def _mentions(context: CurationContext, shard: CurationShardRecord) -> Mentions:
    if shard.shard_id not in context.searched:
        return no_mentions(shard.samples)
    path = paths.mentions(context.curation.id, shard.shard_id)
    return arrays.read_mentions(context.platform.objects, path)


def no_mentions(samples: int) -> Mentions:
    """Return the mentions of samples whose captions name no concept."""
    return Mentions(
        offsets_N1=np.zeros(samples + 1, np.int64),
        concepts_M=np.zeros(0, np.int32),
        similarities_M=np.zeros(0, np.float32),
    )


def _merge_statistics(context: CurationContext) -> None:
    objects, curation = context.platform.objects, context.curation
    parts = (
        Statistics.from_arrays(
            arrays.read_arrays(objects, paths.statistics_part(curation.id, shard.shard_id))
        )
        for shard in context.shards
        if shard.shard_id in context.searched
    )
    statistics = Statistics.merge(parts)
    if context.parameters.scoring == "evidence":
        statistics = _calibrated(context, statistics)
    arrays.write_arrays(objects, paths.statistics(curation.id), statistics.to_arrays())


def _calibrated(context: CurationContext, statistics: Statistics) -> Statistics:
    """Return the statistics with weights that are learnt from the captions of a few thousand samples."""
    chosen_S = calibration_rows(context.samples)
    lists: list[DeduplicatedLists] = []
    for shard in context.shards:
        rows_N = context.rows(shard)
        local_rows = chosen_S[(chosen_S >= rows_N[0]) & (chosen_S <= rows_N[-1])] - shard.first_row
        if len(local_rows) and shard.shard_id in context.searched:
            lists.append(deduplicated(context, shard, local_rows))
    anchors_S = np.concatenate([part.anchors_B for part in lists])
    return calibrate(
        statistics,
        mentions=context.mentions,
        anchors_S=anchors_S,
        neighbours_SL=np.concatenate([part.ids_BL for part in lists]),
        neighbour_similarities_SL=np.concatenate([part.similarities_BL for part in lists]),
        images_SD=context.embeddings_of(anchors_S),
        concepts_VD=context.concept_embeddings,
    )
