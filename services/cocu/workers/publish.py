"""publish: the content hash over all archives, what was added in numbers, and concepts for the vectors."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from cocu.curation.archives import OWN_CAPTION, Archives
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, UnavailableError
from cocu.storage import arrays, concept_indexes, content, paths, tables
from cocu.storage.catalog import curations
from cocu.storage.catalog.curations import CurationShardRecord
from cocu.storage.catalog.indexing import EmbeddedShard
from cocu.workers.earlier import changes
from cocu.workers.index import Target, put_concepts
from cocu.workers.leases import Lease
from cocu.workers.snapshot import Snapshot

logger = logging.getLogger(__name__)


def run(lease: Lease) -> None:
    """Writes the concept indexes and frequencies, and notes the content hash and the summary."""
    platform = lease.platform
    snapshot = Snapshot.of(platform, lease.chunk.scope)
    archived = [shard for shard in snapshot.shards if shard.content_hash is not None]
    if not archived:
        raise IntegrityError("no shard of the curation has archives")
    totals = _Totals(len(snapshot.vocabulary.names))
    for shard in archived:
        table = tables.read_table(platform.objects, paths.archives(snapshot.curation.id, shard.shard_id))
        archives = tables.archives_of(table, snapshot.vocabulary.names)
        totals.add(archives, _index(snapshot, shard, archives))
        lease.advance(shard.samples)
    arrays.write_arrays(
        platform.objects,
        paths.concepts(snapshot.curation.id),
        {"captions_V": totals.captions_V, "archives_V": totals.archives_V, "added_V": totals.added_V},
    )
    curations.published(
        platform.catalog,
        curation_id=snapshot.curation.id,
        content_hash=content.combined_hash(shard.content_hash or "" for shard in archived),
        statistics=totals.summary() | _duplicates(snapshot) | _recall(snapshot) | changes(snapshot),
    )
    # After that: whatever is indexed from now on brings the concepts of this curation along.
    _note_concepts(lease, snapshot, archived)


def _index(snapshot: Snapshot, shard: CurationShardRecord, archives: Archives) -> ConceptIndex:
    return concept_indexes.make(
        snapshot.platform.objects,
        curation_id=snapshot.curation.id,
        shard_id=shard.shard_id,
        content_hash=shard.content_hash or "",
        archives=archives,
        concepts=len(snapshot.vocabulary.names),
    )


def _note_concepts(lease: Lease, snapshot: Snapshot, archived: list[CurationShardRecord]) -> None:
    """Notes in the vector store which concepts each archive holds; a store that is away spoils nothing."""
    platform, curation = snapshot.platform, snapshot.curation
    try:
        platform.vectors.check()
        target = Target.in_use(platform.vectors, curation.encoder_hash)
        for shard in archived:
            embedded = EmbeddedShard(
                tenant=curation.tenant,
                dataset_id=curation.dataset_id,
                encoder_hash=curation.encoder_hash,
                shard_id=shard.shard_id,
                first_row=shard.first_row,
                samples=shard.samples,
                revision=shard.revision,
            )
            put_concepts(platform, embedded, target, curation_id=curation.id)
            lease.advance()
    except UnavailableError as error:
        logger.warning(
            "not all concepts of curation %s are in the vector store: %s; `cocu index rebuild %s` adds them",
            curation.id,
            error,
            curation.dataset_id,
        )


class _Totals:
    """Counts over samples: per concept, captions (before) and archives (after), and those that are new."""

    def __init__(self, concepts: int) -> None:
        self.captions_V = np.zeros(concepts, np.int64)
        self.archives_V = np.zeros(concepts, np.int64)
        self.added_V = np.zeros(concepts, np.int64)
        self.images = self.empty = self.from_own_caption = 0

    def add(self, archives: Archives, index: ConceptIndex) -> None:
        lengths_B = np.diff(archives.offsets_B1)
        first_C = archives.origin_offsets_C1[:-1]
        own_C = np.zeros(len(archives.concepts_C), bool)
        # Origins ascend, and OWN_CAPTION is the lowest: it is the first where it is there.
        present_C = archives.origin_offsets_C1[1:] > first_C
        own_C[present_C] = archives.origins_O[first_C[present_C]] == OWN_CAPTION
        self.images += len(lengths_B)
        self.empty += int((lengths_B == 0).sum())
        self.from_own_caption += int(own_C.sum())
        self.captions_V += index.caption_counts
        self.archives_V += index.archive_counts
        self.added_V += index.added_counts

    def summary(self) -> dict[str, Any]:
        """What the catalog keeps."""
        archived, named = int(self.archives_V.sum()), self.from_own_caption
        return {
            "samples": self.images,
            "empty_archives": self.empty,
            "concepts": archived,
            "concepts_from_own_caption": named,
            "concepts_added": archived - named,
            "distinct_concepts_in_captions": int((self.captions_V > 0).sum()),
            "distinct_concepts_in_archives": int((self.archives_V > 0).sum()),
        }


def _recall(snapshot: Snapshot) -> dict[str, Any]:
    """The share of true neighbours that the search found, measured on a sample where it is not exact."""
    if snapshot.searches_exactly:
        return {"neighbour_recall": 1.0}
    found = arrays.read_arrays(snapshot.platform.objects, paths.cells(snapshot.curation.id))
    return {"neighbour_recall": float(found["recall"][0]), "cells_probed": int(found["probes"][0])}


def _duplicates(snapshot: Snapshot) -> dict[str, Any]:
    found = arrays.read_arrays(snapshot.platform.objects, paths.duplicates(snapshot.curation.id))
    return {f"{kind}_duplicates": int(found[kind][0]) for kind in ("exact", "near")}
