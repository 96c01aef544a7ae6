"""Labels of regions: the concepts that are more frequent in the archives of a region than elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lru_cache import LruCache
from cocu.catalog.curations import CurationRecord
from cocu.catalog.projections import ProjectedShard
from cocu.curation.archives import Ids
from cocu.curation.ragged import owners, take

LABELS = 3
COUNTED = 100_000
"""The most archives that are counted. Points are in random order, so the first ones are a fair sample."""
CACHED = 256
_FEWEST = 2
"""Archives of a region that must have a concept: one says nothing about a region."""


class RegionLabels:
    """Labels of the regions of projections, by the archives of a curation."""

    def __init__(self, concepts: Concepts) -> None:
        self._concepts = concepts
        self._labels: LruCache[tuple[str, str, str | None], list[list[str]]] = LruCache(CACHED)

    def get(
        self,
        record: CurationRecord,
        *,
        projection: str,
        shards: Sequence[ProjectedShard],
        rows_P: NDArray[np.uint32],
        regions_P: NDArray[np.uint8],
    ) -> list[list[str]]:
        """Return up to three concepts for each region, the most distinctive first.

        shards, rows_P, regions_P: the points of the projection, in random order. At most COUNTED archives are
        counted, so the first time costs at most that many and a file for each shard, whatever the size of the
        dataset; then they are cached.
        """
        return self._labels.get(
            (projection, record.id, record.content_hash),
            lambda: self._label(record, shards, rows_P[:COUNTED].astype(np.int64), regions_P),
        )

    def _label(
        self,
        record: CurationRecord,
        shards: Sequence[ProjectedShard],
        rows_P: Ids,
        regions_P: NDArray[np.uint8],
    ) -> list[list[str]]:
        names = self._concepts.names(record)
        regions = int(regions_P.max(initial=0)) + 1 if len(regions_P) else 0
        archives_R = np.zeros(regions, np.int64)
        parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        archived = {shard.shard_id: shard for shard in self._concepts.archived_shards(record)}
        order_P = np.argsort(rows_P, kind="stable")
        for shard in shards:
            first, last = np.searchsorted(
                rows_P, (shard.first_row, shard.first_row + shard.samples), sorter=order_P
            )
            if first == last or shard.shard_id not in archived:
                continue
            members_M = order_P[first:last]
            index = self._concepts.index(record, archived[shard.shard_id])
            lengths_M1, entries_K = take(index.offsets_B1, rows_P[members_M] - shard.first_row)
            regions_M = regions_P[members_M].astype(np.int64)
            archives_R += np.bincount(regions_M, minlength=regions)
            cells_K = regions_M[owners(lengths_M1)] * len(names) + index.concepts_C[entries_K]
            parts.append(np.unique(cells_K, return_counts=True))
        cells_K, counts_K = (np.concatenate(values) for values in zip(*parts, strict=True))
        labels = distinctive(cells_K, counts_K, archives_R, concepts=len(names))
        return [[names[concept] for concept in chosen] for chosen in labels]


def distinctive(cells_K: Ids, counts_K: Ids, archives_R: Ids, *, concepts: int) -> list[list[int]]:
    """Return for each region the concepts that tell it from the others, the most distinctive first.

    cells_K: region · concepts + concept; a cell may come several times, its counts are added. counts_K: how
    many archives of the region have the concept. archives_R: how many archives it has. The order is that of
    p·log(p/q), where p is the share of the region's archives with the concept, and q that of all: the part of
    a concept in the Kullback–Leibler divergence. So it is frequent here, and rarer elsewhere. Ties by
    concept. Time and memory grow with the cells that occur, not with the vocabulary.
    """
    occurring_C, places_K = np.unique(cells_K, return_inverse=True)
    counts_C = np.bincount(places_K, weights=counts_K, minlength=len(occurring_C))
    regions_C, concepts_C = np.divmod(occurring_C, max(concepts, 1))
    _, columns_C = np.unique(concepts_C, return_inverse=True)
    overall_C = np.bincount(columns_C, weights=counts_C)[columns_C] / max(int(archives_R.sum()), 1)
    shares_C = counts_C / archives_R[regions_C]
    gains_C = np.where(counts_C >= _FEWEST, shares_C * np.log(shares_C / overall_C), 0.0)
    # Cells are in ascending order: a stable sort leaves ties by concept.
    order_C = np.argsort(-gains_C, kind="stable")
    labels: list[list[int]] = [[] for _ in archives_R]
    for cell in order_C[gains_C[order_C] > 0].tolist():
        label = labels[regions_C[cell]]
        if len(label) < LABELS:
            label.append(int(concepts_C[cell]))
    return labels
