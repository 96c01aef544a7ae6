"""Which samples of a curation the filters of a search allow, exactly, from the concept indexes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from cocu.api.reading.concepts import Concepts
from cocu.client import models
from cocu.curation.archives import Ids
from cocu.curation.concept_index import ConceptIndex
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord


@dataclass(frozen=True)
class Allowed:
    """Samples of a curation: of each shard that has archives, the rows that are allowed, ascending."""

    shards: tuple[CurationShardRecord, ...]
    rows: tuple[Ids, ...]

    @property
    def count(self) -> int:
        """How many samples are allowed."""
        return sum(len(rows) for rows in self.rows)

    def holds(self, shard_id: str, row: int) -> bool:
        """Whether this sample is allowed."""
        for shard, rows in zip(self.shards, self.rows, strict=True):
            if shard.shard_id == shard_id:
                place = int(np.searchsorted(rows, row))
                return place < len(rows) and int(rows[place]) == row
        return False


@dataclass(frozen=True)
class _Wanted:
    """Filters with concepts by id."""

    caption: tuple[int, ...]
    archive: tuple[int, ...]
    added: bool | None
    min_score: float | None


def allowed(concepts: Concepts, record: CurationRecord, filters: models.SearchFilters) -> Allowed:
    """The samples that satisfy every filter. Raises InvalidInputError for a concept that is not known."""
    wanted = _Wanted(
        caption=tuple(concepts.find(record, each, field="body.filters.caption") for each in filters.caption),
        archive=tuple(concepts.find(record, each, field="body.filters.archive") for each in filters.archive),
        added=filters.added,
        min_score=filters.min_score,
    )
    shards = tuple(concepts.archived_shards(record))
    return Allowed(shards, tuple(_rows(concepts.index(record, shard), wanted) for shard in shards))


def _rows(index: ConceptIndex, wanted: _Wanted) -> Ids:
    found = [index.captioned(concept) for concept in wanted.caption]
    found += [
        index.archived(concept, added=wanted.added, min_score=wanted.min_score) for concept in wanted.archive
    ]
    if not wanted.archive and (wanted.added is not None or wanted.min_score is not None):
        found.append(index.archived(added=wanted.added, min_score=wanted.min_score))
    if not found:
        return np.arange(len(index.offsets_B1) - 1)
    return reduce(lambda left, right: np.intersect1d(left, right, assume_unique=True), found)
