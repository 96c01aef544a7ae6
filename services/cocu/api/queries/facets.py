"""Facets: exact counts over the archives that a filter selects, from the concept indexes and the columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cocu import schemas
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.filters import ArchiveFilter, Filters, matching_rows, resolve_archive_filter
from cocu.api.queries.histograms import count_bins, find_edges
from cocu.api.queries.lru_cache import LruCache
from cocu.catalog.curations import CurationRecord
from cocu.curation.archive_columns import NO_SCORE
from cocu.curation.archives import Ids

ANSWERS = 256
RANGES = 64


@dataclass(frozen=True)
class _Edges:
    """The edges of the histograms of a curation."""

    best_added: tuple[float, ...]
    gain: tuple[float, ...]


class Facets:
    """Counts over the archives of every curation of a platform."""

    def __init__(self, concepts: Concepts) -> None:
        self._concepts = concepts
        self._answers: LruCache[tuple[str, str | None, Filters, int], schemas.ArchiveFacets] = LruCache(
            ANSWERS
        )
        self._edges: LruCache[tuple[str, str | None], _Edges] = LruCache(RANGES)

    def get(
        self, record: CurationRecord, archive_filter: ArchiveFilter, *, top: int
    ) -> schemas.ArchiveFacets:
        """Return the counts over the archives that the filter selects.

        top: the most concepts. The time grows with the entries of the selected archives: 10 ms for 100,000
        entries of 25 concepts each and a filter, and next to nothing without one, for then the published
        frequencies are the answer. Raises InvalidInputError for an unknown concept.
        """
        filters = resolve_archive_filter(self._concepts, record, archive_filter)
        return self._answers.get(
            (record.id, record.content_hash, filters, top), lambda: self._count(record, filters, top)
        )

    def _count(self, record: CurationRecord, filters: Filters, top: int) -> schemas.ArchiveFacets:
        edges = self._edges.get((record.id, record.content_hash), lambda: self._find_edges(record))
        names = self._concepts.names(record)
        archives_V, added_V = np.zeros((2, len(names)), np.int64)
        best_added_K = np.zeros(max(0, len(edges.best_added) - 1), np.int64)
        gain_K = np.zeros(len(edges.gain) - 1, np.int64)
        total = 0
        for shard in self._concepts.archived_shards(record):
            rows_R = matching_rows(self._concepts, record, shard, filters)
            columns = self._concepts.columns(record, shard)
            total += len(rows_R)
            gain_K += count_bins(columns.gains_B[rows_R].astype(np.float32), edges.gain)
            best_R = columns.best_added_B[rows_R]
            best_added_K += count_bins(best_R[best_R > NO_SCORE], edges.best_added)
            if not filters.empty and len(rows_R):
                counts_V, counts_added_V = self._concepts.index(record, shard).counts_with_added(rows_R)
                archives_V += counts_V
                added_V += counts_added_V
        if filters.empty:
            _, archives_V, added_V = self._concepts.frequencies(record)
        return schemas.ArchiveFacets(
            total=total,
            concepts=_top(names, archives_V, added_V, top),
            best_added=schemas.Histogram(edges=list(edges.best_added), counts=best_added_K.tolist()),
            gain=schemas.Histogram(edges=list(edges.gain), counts=gain_K.tolist()),
        )

    def _find_edges(self, record: CurationRecord) -> _Edges:
        low, high, largest_gain = math.inf, -math.inf, 0
        for shard in self._concepts.archived_shards(record):
            columns = self._concepts.columns(record, shard)
            largest_gain = max(largest_gain, int(columns.gains_B.max(initial=0)))
            scores_R = columns.best_added_B[columns.best_added_B > NO_SCORE]
            if len(scores_R):
                low, high = min(low, float(scores_R.min())), max(high, float(scores_R.max()))
        return _Edges(
            best_added=find_edges(low, high) if low <= high else (),
            gain=find_edges(0, largest_gain, smallest_width=1),
        )


def _top(names: tuple[str, ...], archives_V: Ids, added_V: Ids, top: int) -> list[schemas.ConceptFacet]:
    present_K = np.flatnonzero(archives_V)
    present_K = present_K[np.argsort(-archives_V[present_K], kind="stable")][:top]
    return [
        schemas.ConceptFacet(
            concept=names[concept], archives=int(archives_V[concept]), added=int(added_V[concept])
        )
        for concept in present_K.tolist()
    ]
