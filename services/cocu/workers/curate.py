"""curate: the archives of a shard: expand, rank, cluster."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cocu.curation.archives import Archives
from cocu.curation.curate import curate
from cocu.storage import content, paths, tables
from cocu.storage.catalog import curations
from cocu.workers.distinct import DistinctLists, distinct_lists
from cocu.workers.earlier import note_changes
from cocu.workers.leases import Lease
from cocu.workers.snapshot import Snapshot

BLOCK = 1024
"""Images curated between two looks at whether the curation is still wanted; no archive depends on it."""


def run(lease: Lease) -> None:
    """Writes the archives of a shard and notes the hash of their content."""
    platform = lease.platform
    snapshot = Snapshot.of(platform, lease.chunk.scope)
    shard = snapshot.shard(lease.chunk.subject)
    path = paths.samples(snapshot.curation.dataset_id, shard.shard_id)
    keys = tables.read_table(platform.objects, path, columns=["key"])["key"].to_pylist()
    blocks: list[pa.Table] = []
    for start in range(0, shard.samples, BLOCK):
        local_B = np.arange(start, min(start + BLOCK, shard.samples), dtype=np.int64)
        lists = distinct_lists(snapshot, shard, local_B)
        table = tables.archives_table(
            _archives(snapshot, lists),
            keys=keys[start : start + BLOCK],
            names=snapshot.vocabulary.names,
            neighbours_BL=lists.ids_BL,
            neighbour_similarities_BL=lists.similarities_BL,
        )
        blocks.append(table)
        lease.advance(len(local_B))
    table = pa.concat_tables(blocks).combine_chunks()
    tables.write_table(platform.objects, paths.archives(snapshot.curation.id, shard.shard_id), table)
    note_changes(snapshot, shard, table["neighbours"])
    curations.archived(
        platform.catalog,
        curation_id=snapshot.curation.id,
        shard_id=shard.shard_id,
        content_hash=content.content_hash(table),
    )


def _archives(snapshot: Snapshot, lists: DistinctLists) -> Archives:
    return curate(
        mentions=snapshot.mentions,
        anchors_B=lists.anchors_B,
        neighbours_BL=lists.ids_BL,
        neighbour_similarities_BL=lists.similarities_BL,
        images_BD=snapshot.embeddings_of(lists.anchors_B),
        concepts_VD=snapshot.concept_embeddings,
        names=snapshot.vocabulary.names,
        parameters=snapshot.parameters,
        statistics=snapshot.statistics,
        embeddings_of=snapshot.embeddings_of,
    )
