"""curate: the archives of a shard: expand, rank, cluster."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cocu.catalog import curations
from cocu.curation.archives import Archives
from cocu.curation.curate import curate
from cocu.pipeline.context import CurationContext
from cocu.pipeline.lease import Lease
from cocu.pipeline.neighbour_lists import DeduplicatedLists, deduplicated
from cocu.pipeline.reuse import store_changes
from cocu.storage import content_hash, paths, tables

BLOCK = 1024
"""The number of images curated between two checks of the lease; no archive depends on it."""


def run(lease: Lease) -> None:
    """Write the archives of a shard and store the hash of their content."""
    platform = lease.platform
    context = CurationContext.of(platform, lease.task.owner_key)
    shard = context.shard(lease.task.target)
    path = paths.samples(context.curation.dataset_id, shard.shard_id)
    keys = tables.read_table(platform.objects, path, columns=["key"])["key"].to_pylist()
    blocks: list[pa.Table] = []
    for start in range(0, shard.samples, BLOCK):
        local_B = np.arange(start, min(start + BLOCK, shard.samples), dtype=np.int64)
        lists = deduplicated(context, shard, local_B)
        table = tables.archives_table(
            _archives(context, lists),
            keys=keys[start : start + BLOCK],
            names=context.vocabulary.names,
            neighbours_BL=lists.ids_BL,
            neighbour_similarities_BL=lists.similarities_BL,
        )
        blocks.append(table)
        lease.advance(len(local_B))
    table = pa.concat_tables(blocks).combine_chunks()
    tables.write_table(platform.objects, paths.archives(context.curation.id, shard.shard_id), table)
    store_changes(context, shard, table["neighbours"])
    curations.store_archives_hash(
        platform.catalog,
        curation_id=context.curation.id,
        shard_id=shard.shard_id,
        content_hash=content_hash.content_hash(table),
    )


def _archives(context: CurationContext, lists: DeduplicatedLists) -> Archives:
    return curate(
        mentions=context.mentions,
        anchors_B=lists.anchors_B,
        neighbours_BL=lists.ids_BL,
        neighbour_similarities_BL=lists.similarities_BL,
        images_BD=context.embeddings_of(lists.anchors_B),
        concepts_VD=context.concept_embeddings,
        names=context.vocabulary.names,
        parameters=context.parameters,
        statistics=context.statistics,
        embeddings_of=context.embeddings_of,
    )
