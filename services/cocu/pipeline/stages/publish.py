"""publish: the content hash over all archives, and what was added in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cocu.catalog import curations
from cocu.catalog.curations import CurationShardRecord
from cocu.curation import segmentation
from cocu.curation.archives import OWN_CAPTION, Archives
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError
from cocu.pipeline.context import CurationContext
from cocu.pipeline.lease import Lease
from cocu.pipeline.reuse import changes
from cocu.storage import archive_columns, arrays, concept_indexes, content_hash, paths, tables


def run(lease: Lease) -> None:
    """Write indexes, columns and frequencies, and store the content hash and the summary."""
    platform = lease.platform
    context = CurationContext.of(platform, lease.task.owner_key)
    archived = [shard for shard in context.shards if shard.content_hash is not None]
    if not archived:
        raise IntegrityError("no shard of the curation has archives")
    totals = _Totals(len(context.vocabulary.names))
    for shard in archived:
        path = paths.archives(context.curation.id, shard.shard_id)
        table = tables.read_table(platform.objects, path, content_hash=shard.content_hash)
        archives = tables.archives_of(table, context.vocabulary.names)
        totals.add(archives, _index(context, shard, archives))
        lease.advance(shard.samples)
    arrays.write_arrays(
        platform.objects,
        paths.concepts(context.curation.id),
        {"captions_V": totals.captions_V, "archives_V": totals.archives_V, "added_V": totals.added_V},
    )
    curations.store_result(
        platform.catalog,
        curation_id=context.curation.id,
        content_hash=content_hash.combined_hash(shard.content_hash or "" for shard in archived),
        statistics=totals.summary()
        | _duplicates(context)
        | _recall(context)
        | changes(context)
        | _unmatched(context),
    )


def _index(context: CurationContext, shard: CurationShardRecord, archives: Archives) -> ConceptIndex:
    objects, content = context.platform.objects, shard.content_hash or ""
    index = concept_indexes.build(
        objects,
        curation_id=context.curation.id,
        shard_id=shard.shard_id,
        content_hash=content,
        archives=archives,
        concepts=len(context.vocabulary.names),
    )
    archive_columns.build(
        objects,
        curation_id=context.curation.id,
        shard_id=shard.shard_id,
        content_hash=content,
        index=index,
    )
    return index


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


def _unmatched(context: CurationContext) -> dict[str, Any]:
    """Why some concepts can hardly be found in any caption."""
    unmatched = context.vocabulary.unmatched
    if not unmatched:
        return {}
    return {
        "concepts_unmatched": unmatched,
        "not_matched": f"{unmatched:,} concepts are in scripts without spaces (Chinese, Japanese, Thai, …), "
        f"whose words nothing here finds in captions: {segmentation.INSTALL}, then make the vocabulary again",
    }


def _recall(context: CurationContext) -> dict[str, Any]:
    """The share of true neighbours that the search found, measured on a sample where it is not exact."""
    if context.searches_exactly:
        return {"neighbour_recall": 1.0}
    stored = arrays.read_arrays(context.platform.objects, paths.ivf_lists(context.curation.id))
    return {"neighbour_recall": float(stored["recall"][0]), "cells_probed": int(stored["probes"][0])}


def _duplicates(context: CurationContext) -> dict[str, Any]:
    stored = arrays.read_arrays(context.platform.objects, paths.duplicates(context.curation.id))
    return {f"{kind}_duplicates": int(stored[kind][0]) for kind in ("exact", "near")}
