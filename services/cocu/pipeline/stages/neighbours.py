"""neighbours: of a shard, the nearest samples, the concepts its captions name, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids, Mentions
from cocu.curation.statistics import Statistics
from cocu.errors import InvalidInputError
from cocu.neighbours.exact import Neighbours, available_engine, top_neighbours
from cocu.neighbours.incremental import extend_neighbours
from cocu.neighbours.ivf import IvfIndex, search
from cocu.pipeline.context import CurationContext, own_similarities
from cocu.pipeline.lease import Lease
from cocu.pipeline.reuse import ReusableLists
from cocu.storage import arrays, paths, tables

BLOCK = 4096
"""The number of query rows searched between two checks of the lease."""


def run(lease: Lease) -> None:
    """Write the neighbour lists, mentions and statistics of a shard."""
    context = CurationContext.of(lease.platform, lease.task.owner_key)
    _write_neighbours(lease, context)
    _write_mentions(lease, context)


def raw_count(neighbours: int) -> int:
    """Return the number of neighbours to search for, so that most rows keep enough without duplicates."""
    return neighbours + max(4, neighbours // 2)


def _write_neighbours(lease: Lease, context: CurationContext) -> None:
    shard = context.shard(lease.task.target)
    count = raw_count(context.parameters.neighbours)
    threads = lease.platform.settings.cores
    ids_NK = np.empty((shard.samples, count), np.int64)
    similarities_NK = np.empty((shard.samples, count), np.float16)
    rows_N = context.rows(shard)
    earlier = ReusableLists.for_search(context, count=count)
    known_NK = None if earlier is None else earlier.read_lists(shard)
    ivf = None if context.searches_exactly else _StoredIvf.of(context)
    # Every search in cells reads nearly all cells, so the whole shard is searched at once.
    block = BLOCK if ivf is None else shard.samples
    for start in range(0, shard.samples, block):
        part = slice(start, start + block)
        lease.advance(len(rows_N[part]))
        if ivf is not None:
            neighbours = ivf.search(rows_N[part], count=count, threads=threads)
        elif earlier is None or known_NK is None:
            neighbours = top_neighbours(
                context.embeddings, rows_N[part], count=count, engine=available_engine(), threads=threads
            )
        else:
            neighbours = extend_neighbours(
                context.embeddings,
                rows_N[part],
                known_QK=known_NK[part],
                new_shards=earlier.added,
                count=count,
                engine=available_engine(),
                threads=threads,
            )
        ids_NK[part], similarities_NK[part] = neighbours
    arrays.write_arrays(
        lease.platform.objects,
        paths.neighbours(context.curation.id, shard.shard_id),
        {"ids_NK": ids_NK, "similarities_NK": similarities_NK},
    )


@dataclass(frozen=True)
class _StoredIvf:
    """The inverted file of a snapshot, as stage `ivf` has stored it."""

    context: CurationContext
    index: IvfIndex
    rows_ND: NDArray[np.float16]
    nprobe: int

    @classmethod
    def of(cls, context: CurationContext) -> _StoredIvf:
        objects, curation = context.platform.objects, context.curation
        stored = arrays.read_arrays(objects, paths.ivf_lists(curation.id))
        index = IvfIndex(stored["centres_KD"], stored["ids_N"], stored["offsets_K1"])
        rows_ND = arrays.read_embeddings(objects, paths.ivf_rows(curation.id))
        return cls(context, index, rows_ND, int(stored["probes"][0]))

    def search(self, rows_Q: Ids, *, count: int, threads: int) -> Neighbours:
        return search(
            self.index,
            self.rows_ND,
            self.context.embeddings_of(rows_Q),
            rows_Q,
            count=count,
            nprobe=self.nprobe,
            threads=threads,
        )


def _write_mentions(lease: Lease, context: CurationContext) -> None:
    platform, curation = lease.platform, context.curation
    shard = context.shard(lease.task.target)
    samples_path = paths.samples(curation.dataset_id, shard.shard_id)
    captions = tables.read_table(platform.objects, samples_path, columns=["caption"])["caption"].to_pylist()
    try:
        offsets_N1, concepts_M = context.vocabulary.match_captions(captions)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    images_ND = context.embeddings[shard.ordinal][:]
    mentions = Mentions(
        offsets_N1=offsets_N1,
        concepts_M=concepts_M,
        similarities_M=own_similarities(offsets_N1, concepts_M, images_ND, context.concept_embeddings),
    )
    arrays.write_mentions(platform.objects, paths.mentions(curation.id, shard.shard_id), mentions)
    part = Statistics.of_shard(
        mentions=mentions, images_ND=images_ND, concept_count=len(context.vocabulary.concepts)
    )
    arrays.write_arrays(
        platform.objects, paths.statistics_part(curation.id, shard.shard_id), part.to_arrays()
    )
