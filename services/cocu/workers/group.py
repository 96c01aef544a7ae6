"""group: what needs the whole snapshot once: duplicates, the mentions of all samples, merged statistics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import NO_NEIGHBOUR, Ids, Mentions
from cocu.curation.calibration import calibrate, calibration_rows
from cocu.curation.statistics import Statistics
from cocu.neighbours.duplicates import group_duplicates
from cocu.storage import arrays, paths, tables
from cocu.workers.distinct import DistinctLists, distinct_lists, raw_lists
from cocu.workers.leases import Lease
from cocu.workers.snapshot import Snapshot


def run(lease: Lease) -> None:
    """Writes the duplicate groups, the mentions and the statistics of the snapshot."""
    snapshot = Snapshot.of(lease.platform, lease.chunk.scope)
    _group(lease, snapshot)
    lease.advance()
    _merge_mentions(snapshot)
    lease.advance()
    _merge_statistics(snapshot)


def _group(lease: Lease, snapshot: Snapshot) -> None:
    objects, curation = lease.platform.objects, snapshot.curation
    hashes: list[bytes] = []
    pictured: list[NDArray[np.bool_]] = []
    for shard in snapshot.shards:
        path = paths.samples(curation.dataset_id, shard.shard_id)
        table = tables.read_table(objects, path, columns=["sha256", "size"])
        hashes += table["sha256"].to_pylist()
        pictured.append(table["size"].to_numpy() > 0)
        lease.advance()
    duplicates = group_duplicates(
        hashes=hashes,
        lists=_all_raw_lists(snapshot),
        threshold=snapshot.parameters.duplicate_similarity,
        fingerprints_N=snapshot.fingerprints(),
        pictured_N=np.concatenate(pictured),
    )
    counts = {"exact": duplicates.exact, "near": duplicates.near, "saturated": duplicates.saturated}
    arrays.write_arrays(
        objects,
        paths.duplicates(curation.id),
        {"groups_N": duplicates.groups_N} | {name: np.array([count]) for name, count in counts.items()},
    )


def _all_raw_lists(snapshot: Snapshot) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
    for shard in snapshot.shards:
        if shard.shard_id in snapshot.searched:
            yield raw_lists(snapshot, shard)
        else:
            yield np.full((shard.samples, 1), NO_NEIGHBOUR), np.zeros((shard.samples, 1), np.float16)


def _merge_mentions(snapshot: Snapshot) -> None:
    objects, curation = snapshot.platform.objects, snapshot.curation
    parts = [
        arrays.read_mentions(objects, paths.mentions(curation.id, shard.shard_id))
        if shard.shard_id in snapshot.searched
        else no_mentions(shard.samples)
        for shard in snapshot.shards
    ]
    arrays.write_mentions(objects, paths.all_mentions(curation.id), arrays.concatenate_mentions(parts))


def no_mentions(samples: int) -> Mentions:
    """Mentions of samples whose captions name nothing."""
    return Mentions(
        offsets_N1=np.zeros(samples + 1, np.int64),
        concepts_M=np.zeros(0, np.int32),
        similarities_M=np.zeros(0, np.float32),
    )


def _merge_statistics(snapshot: Snapshot) -> None:
    objects, curation = snapshot.platform.objects, snapshot.curation
    parts = [
        Statistics.from_arrays(
            arrays.read_arrays(objects, paths.statistics_part(curation.id, shard.shard_id))
        )
        for shard in snapshot.shards
        if shard.shard_id in snapshot.searched
    ]
    statistics = Statistics.merge(parts)
    if snapshot.parameters.scoring == "evidence":
        statistics = _calibrated(snapshot, statistics)
    arrays.write_arrays(objects, paths.statistics(curation.id), statistics.to_arrays())


def _calibrated(snapshot: Snapshot, statistics: Statistics) -> Statistics:
    """The statistics with weights learnt from the captions of a few thousand samples of all shards."""
    chosen_S = calibration_rows(snapshot.samples)
    lists: list[DistinctLists] = []
    for shard in snapshot.shards:
        rows_N = snapshot.rows(shard)
        local = chosen_S[(chosen_S >= rows_N[0]) & (chosen_S <= rows_N[-1])] - shard.first_row
        if len(local) and shard.shard_id in snapshot.searched:
            lists.append(distinct_lists(snapshot, shard, local))
    anchors_S = np.concatenate([one.anchors_B for one in lists])
    return calibrate(
        statistics,
        mentions=snapshot.mentions,
        anchors_S=anchors_S,
        neighbours_SL=np.concatenate([one.ids_BL for one in lists]),
        neighbour_similarities_SL=np.concatenate([one.similarities_BL for one in lists]),
        images_SD=snapshot.embeddings_of(anchors_S),
        concepts_VD=snapshot.concept_embeddings,
    )
