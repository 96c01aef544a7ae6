"""Filters of archives and of search: the rows of a curation that satisfy them, exact, from published files.

Conditions on named concepts are answered from the concept indexes, by what each concept has there; those on
any concept from the columns, with one comparison per archive. No archive is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from cocu import schemas
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lasso import Lasso
from cocu.api.queries.verdicts import Judged, VerdictFilter
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Ids
from cocu.errors import InvalidInputError

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ArchiveFilter:
    """Selects archives; all conditions must hold. The filter of lists, as a request names it.

    concepts: the archive has all of these, by name or another form. added, min_score: each of them is one
    that the caption does not name (True) or names (False), and scores at least this; without `concepts`, at
    least one concept of the archive satisfies both. changed: whether the neighbour lists of the archive
    differ from those in the curation before. lasso: the point of the image is enclosed. judged,
    verdict: by which labels archives are judged, and which verdict there is (see `VerdictFilter`);
    labels alone select nothing.
    """

    concepts: tuple[str, ...] = ()
    added: bool | None = None
    min_score: float | None = None
    changed: bool | None = None
    lasso: Lasso | None = None
    judged: Judged | None = None
    verdict: schemas.VerdictChoice | None = None


@dataclass(frozen=True)
class Filters:
    """The filters of a request, with concepts by id."""

    caption: tuple[int, ...] = ()
    archive: tuple[int, ...] = ()
    added: bool | None = None
    min_score: float | None = None
    changed: bool | None = None
    lasso: Lasso | None = None
    verdict: VerdictFilter | None = None

    @property
    def empty(self) -> bool:
        """Whether every archive satisfies them."""
        return self == Filters()


@dataclass(frozen=True)
class FilteredRows:
    """The samples of a curation that satisfy filters: for each shard with archives its rows, ascending."""

    shards: tuple[CurationShardRecord, ...]
    rows: tuple[Ids, ...]

    @property
    def count(self) -> int:
        """How many samples these are."""
        return sum(len(rows) for rows in self.rows)

    def contains(self, shard_id: str, row: int) -> bool:
        """Whether this sample is one of them."""
        for shard, rows in zip(self.shards, self.rows, strict=True):
            if shard.shard_id == shard_id:
                index = int(np.searchsorted(rows, row))
                return index < len(rows) and int(rows[index]) == row
        return False


def resolve(concepts: Concepts, record: CurationRecord, filters: schemas.SearchFilters) -> Filters:
    """Return the filters of a search with concepts by id. Raises InvalidInputError for an unknown concept."""
    return Filters(
        caption=tuple(concepts.find(record, name, field="body.filters.caption") for name in filters.caption),
        archive=tuple(concepts.find(record, name, field="body.filters.archive") for name in filters.archive),
        added=filters.added,
        min_score=_bound(filters.min_score),
    )


def resolve_archive_filter(
    concepts: Concepts, record: CurationRecord, archive_filter: ArchiveFilter
) -> Filters:
    """Return the filter of a list with concepts by id.

    Raises InvalidInputError for an unknown concept, and for a lasso on a map of another dataset.
    """
    lasso = archive_filter.lasso
    if lasso is not None and lasso.dataset != record.dataset_id:
        raise InvalidInputError(
            "The projection is of another dataset.",
            {"query.projection": "choose a projection of the curation's dataset"},
        )
    return Filters(
        archive=tuple(concepts.find(record, name, field="query.concept") for name in archive_filter.concepts),
        added=archive_filter.added,
        min_score=_bound(archive_filter.min_score),
        changed=archive_filter.changed,
        lasso=lasso,
        verdict=_verdict_filter(archive_filter),
    )


def _verdict_filter(archive_filter: ArchiveFilter) -> VerdictFilter | None:
    if archive_filter.judged is None or archive_filter.verdict is None:
        return None
    return VerdictFilter(archive_filter.judged, archive_filter.verdict)


def _bound(min_score: float | None) -> float | None:
    """Return the bound as a number that can be compared with scores, which are 32-bit floats."""
    return None if min_score is None else min(max(min_score, -_LARGEST), _LARGEST)


def filter_rows(
    concepts: Concepts, record: CurationRecord, shards: Sequence[CurationShardRecord], filters: Filters
) -> FilteredRows:
    """Return the samples that satisfy every filter, of the shards of the curation that have archives."""
    rows = tuple(matching_rows(concepts, record, shard, filters) for shard in shards)
    return FilteredRows(tuple(shards), rows)


def matching_rows(
    concepts: Concepts, record: CurationRecord, shard: CurationShardRecord, filters: Filters
) -> Ids:
    """Return the rows of a shard, ascending, that satisfy every filter.

    Reads the entries of the named concepts, for verdicts one byte per entry of the shard, and otherwise at
    most one number per archive. What a lasso encloses is found once for all shards (see `lasso`).
    """
    row_sets: list[Ids] = []
    if filters.caption or filters.archive:
        index = concepts.index(record, shard)
        row_sets = [index.captioned(concept) for concept in filters.caption]
        row_sets += [
            index.archived(concept, added=filters.added, min_score=filters.min_score)
            for concept in filters.archive
        ]
    if filters.lasso is not None:
        row_sets.append(filters.lasso.rows(shard.shard_id))
    if filters.verdict is not None:
        row_sets += filters.verdict.rows(
            concepts.index(record, shard),
            shard,
            concepts=filters.archive,
            added=filters.added,
            min_score=filters.min_score,
        )
    selected_B = _selected(concepts, record, shard, filters)
    if not row_sets:
        return np.arange(shard.samples) if selected_B is None else np.flatnonzero(selected_B)
    rows = reduce(lambda left, right: np.intersect1d(left, right, assume_unique=True), row_sets)
    return rows if selected_B is None else rows[selected_B[rows]]


def _selected(
    concepts: Concepts, record: CurationRecord, shard: CurationShardRecord, filters: Filters
) -> NDArray[np.bool_] | None:
    """Return for each archive whether it satisfies the filters that name no concept, None without any."""
    selected_B: NDArray[np.bool_] | None = None
    if not filters.archive and (filters.added is not None or filters.min_score is not None):
        selected_B = concepts.columns(record, shard).holding(added=filters.added, min_score=filters.min_score)
    if filters.changed is not None:
        changed_B = concepts.changed(record, shard) == filters.changed
        selected_B = changed_B if selected_B is None else selected_B & changed_B
    return selected_B
