"""neighbours: of a shard, the nearest samples, the concepts its captions name, and its statistics."""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Mentions
from cocu.curation.statistics import Statistics
from cocu.neighbours.growing import grown_neighbours
from cocu.neighbours.search import available_engine, top_neighbours
from cocu.storage import arrays, paths, tables
from cocu.workers.earlier import EarlierLists
from cocu.workers.leases import Lease
from cocu.workers.snapshot import Snapshot, own_similarities

BLOCK = 4096
"""Query rows searched between two looks at whether the curation is still wanted."""


def run(lease: Lease) -> None:
    """Writes the three files of a shard that the later stages need of it."""
    snapshot = Snapshot.of(lease.platform, lease.chunk.scope)
    _search(lease, snapshot)
    _mention(lease, snapshot)


def raw_count(neighbours: int) -> int:
    """How many neighbours to search for so that, without duplicates, most rows keep as many as they need."""
    return neighbours + max(4, neighbours // 2)


def _search(lease: Lease, snapshot: Snapshot) -> None:
    shard = snapshot.shard(lease.chunk.subject)
    count = raw_count(snapshot.parameters.neighbours)
    ids_NK = np.empty((shard.samples, count), np.int64)
    similarities_NK = np.empty((shard.samples, count), np.float16)
    rows_N = snapshot.rows(shard)
    earlier = EarlierLists.for_search(snapshot, count=count)
    known_NK = None if earlier is None else earlier.raw(shard)
    for start in range(0, shard.samples, BLOCK):
        part = slice(start, start + BLOCK)
        lease.advance(len(rows_N[part]))
        if earlier is None or known_NK is None:
            found = top_neighbours(snapshot.embeddings, rows_N[part], count=count, engine=available_engine())
        else:
            found = grown_neighbours(
                snapshot.embeddings,
                rows_N[part],
                known_QK=known_NK[part],
                added=earlier.added,
                count=count,
                engine=available_engine(),
            )
        ids_NK[part], similarities_NK[part] = found
    arrays.write_arrays(
        lease.platform.objects,
        paths.neighbours(snapshot.curation.id, shard.shard_id),
        {"ids_NK": ids_NK, "similarities_NK": similarities_NK},
    )


def _mention(lease: Lease, snapshot: Snapshot) -> None:
    platform, curation = lease.platform, snapshot.curation
    shard = snapshot.shard(lease.chunk.subject)
    samples_path = paths.samples(curation.dataset_id, shard.shard_id)
    captions = tables.read_table(platform.objects, samples_path, columns=["caption"])["caption"].to_pylist()
    offsets_N1, concepts_M = snapshot.vocabulary.match_captions(captions)
    images_ND = snapshot.embeddings[shard.ordinal]
    mentions = Mentions(
        offsets_N1=offsets_N1,
        concepts_M=concepts_M,
        similarities_M=own_similarities(offsets_N1, concepts_M, images_ND, snapshot.concept_embeddings),
    )
    arrays.write_mentions(platform.objects, paths.mentions(curation.id, shard.shard_id), mentions)
    part = Statistics.of_shard(
        mentions=mentions, images_ND=images_ND, concept_count=len(snapshot.vocabulary.concepts)
    )
    arrays.write_arrays(
        platform.objects, paths.statistics_part(curation.id, shard.shard_id), part.to_arrays()
    )
