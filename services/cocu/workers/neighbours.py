"""neighbours: of a shard, the nearest samples, the concepts its captions name, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids, Mentions
from cocu.curation.statistics import Statistics
from cocu.neighbours.cells import Cells, probed_neighbours
from cocu.neighbours.growing import grown_neighbours
from cocu.neighbours.search import Neighbours, available_engine, top_neighbours
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
    threads = lease.platform.settings.cores
    ids_NK = np.empty((shard.samples, count), np.int64)
    similarities_NK = np.empty((shard.samples, count), np.float16)
    rows_N = snapshot.rows(shard)
    earlier = EarlierLists.for_search(snapshot, count=count)
    known_NK = None if earlier is None else earlier.raw(shard)
    split = None if snapshot.searches_exactly else _Split.of(snapshot)
    # Every pass in cells reads nearly all of them, so there is one for the whole shard.
    block = BLOCK if split is None else shard.samples
    for start in range(0, shard.samples, block):
        part = slice(start, start + block)
        lease.advance(len(rows_N[part]))
        if split is not None:
            found = split.search(rows_N[part], count=count, threads=threads)
        elif earlier is None or known_NK is None:
            found = top_neighbours(
                snapshot.embeddings, rows_N[part], count=count, engine=available_engine(), threads=threads
            )
        else:
            found = grown_neighbours(
                snapshot.embeddings,
                rows_N[part],
                known_QK=known_NK[part],
                added=earlier.added,
                count=count,
                engine=available_engine(),
                threads=threads,
            )
        ids_NK[part], similarities_NK[part] = found
    arrays.write_arrays(
        lease.platform.objects,
        paths.neighbours(snapshot.curation.id, shard.shard_id),
        {"ids_NK": ids_NK, "similarities_NK": similarities_NK},
    )


@dataclass(frozen=True)
class _Split:
    """The cells that `cells` split the snapshot into."""

    snapshot: Snapshot
    cells: Cells
    rows_ND: NDArray[np.float16]
    probes: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Split:
        objects, curation = snapshot.platform.objects, snapshot.curation
        found = arrays.read_arrays(objects, paths.cells(curation.id))
        cells = Cells(found["centres_KD"], found["ids_N"], found["offsets_K1"])
        rows_ND = arrays.read_embeddings(objects, paths.cell_rows(curation.id))
        return cls(snapshot, cells, rows_ND, int(found["probes"][0]))

    def search(self, rows_Q: Ids, *, count: int, threads: int) -> Neighbours:
        return probed_neighbours(
            self.cells,
            self.rows_ND,
            self.snapshot.embeddings_of(rows_Q),
            rows_Q,
            count=count,
            probes=self.probes,
            threads=threads,
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
