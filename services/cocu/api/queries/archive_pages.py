"""Lists of archives: which are selected, in which order, and where each stands.

A list is never built as a whole. Each shard gives the selected rows and the key by which they are sorted, a
number per archive from the columns or from the entries of one concept; what a page shows of them is kept. So
a page costs some numpy operations per shard (0.1 ms for 10,000 samples, more where a concept is in most
archives) and the memory of one shard, and no archive is read that is not shown.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cocu import schemas
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.filters import ArchiveFilter, Filters, matching_rows, resolve_archive_filter
from cocu.api.queries.verdicts import Judged
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Floats, Ids
from cocu.errors import InvalidInputError

MAX_SHARDS_PER_PAGE = 200
"""The most shards that a page in sample order looks through (two million samples); a page that finds little
in them ends early, with a cursor."""

_PLACE = re.compile(r"(-?(?:inf|0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,3})):([0-9]{1,15})")


@dataclass(frozen=True)
class Listing:
    """Which archives, in which order, and seen by which labels."""

    filters: Filters
    order: schemas.ArchiveOrder
    judged: Judged | None = None

    @classmethod
    def of(
        cls,
        concepts: Concepts,
        record: CurationRecord,
        archive_filter: ArchiveFilter,
        order: schemas.ArchiveOrder,
    ) -> Listing:
        """Resolve names of concepts.

        Raises InvalidInputError for an unknown concept, and for an order by score without a concept.
        """
        if order in ("score", "-score") and not archive_filter.concepts:
            raise InvalidInputError(
                "An order by score needs the concept whose score it is.",
                {"query.order": "give a concept, or choose another order: sample, -gain or -best_added"},
            )
        return cls(resolve_archive_filter(concepts, record, archive_filter), order, archive_filter.judged)


class Place(NamedTuple):
    """Where an archive stands in a list: lists ascend by key, then by the row in the snapshot.

    key: 0 in sample order; with an order that descends, the negative value.
    """

    key: float
    row: int

    def to_text(self) -> str:
        """Return a text for cursors, which loses nothing."""
        return f"{self.key.hex()}:{self.row}"

    @classmethod
    def from_text(cls, text: str) -> Place:
        """Read such a text. Raises InvalidInputError."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                "The cursor holds no place in a list.",
                {"query.cursor": "take it unchanged from `next` of the page before"},
            )
        return cls(float.fromhex(match[1]), int(match[2]))


@dataclass(frozen=True)
class Places:
    """A part of a list. next: the place after which the list goes on, None at its end."""

    places: tuple[Place, ...]
    next: Place | None


@dataclass(frozen=True)
class Surroundings:
    """What stands around an archive in a list: rows in the snapshot; position: from 0, None if not in it."""

    previous: int | None
    next: int | None
    position: int | None
    total: int


@dataclass(frozen=True)
class _Keys:
    """The selected archives of a shard: rows in the snapshot, ascending, and the key of each."""

    keys_R: Floats
    rows_R: Ids

    def later(self, place: Place) -> NDArray[np.bool_]:
        """Whether each stands after this place."""
        same_R = self.keys_R == place.key
        return np.asarray((self.keys_R > place.key) | (same_R & (self.rows_R > place.row)))

    def earlier(self, place: Place) -> NDArray[np.bool_]:
        """Whether each stands before this place."""
        same_R = self.keys_R == place.key
        return np.asarray((self.keys_R < place.key) | (same_R & (self.rows_R < place.row)))


def locate(shards: Sequence[CurationShardRecord], row: int) -> tuple[CurationShardRecord, int]:
    """Return the shard of a row of the snapshot, and the row in it."""
    shard = shards[bisect_right(shards, row, key=lambda shard: shard.first_row) - 1]
    return shard, row - shard.first_row


def find_page(
    concepts: Concepts, record: CurationRecord, listing: Listing, *, limit: int, after: Place | None
) -> Places:
    """Return the first `limit` places after `after`.

    In sample order it looks no further than it must, and through MAX_SHARDS_PER_PAGE shards at most; in any
    other order through all shards of the curation.
    """
    in_sample_order = listing.order == "sample"
    shards = concepts.archived_shards(record)
    if in_sample_order and after is not None:
        shards = [shard for shard in shards if shard.first_row + shard.samples > after.row + 1]
    first = _Keys(np.zeros(0, np.float32), np.zeros(0, np.int64))
    for number, shard in enumerate(shards, start=1):
        keys = _keys(concepts, record, listing, shard)
        kept_R = np.ones(len(keys.rows_R), bool) if after is None else keys.later(after)
        if len(first.rows_R) > limit:
            # Rows of this shard are larger than those before, so equal keys stand behind.
            kept_R &= keys.keys_R < first.keys_R[-1]
        first = _first(first, _Keys(keys.keys_R[kept_R], keys.rows_R[kept_R]), limit + 1)
        if in_sample_order and len(first.rows_R) > limit:
            break
        if in_sample_order and number == MAX_SHARDS_PER_PAGE and number < len(shards):
            return Places(_places(first, limit), Place(0.0, shard.first_row + shard.samples - 1))
    places = _places(first, limit)
    return Places(places, places[-1] if len(first.rows_R) > limit else None)


def find_surroundings(
    concepts: Concepts, record: CurationRecord, listing: Listing, shard: CurationShardRecord, row: int
) -> Surroundings:
    """Return what stands before and after the archive in this row of a shard, and its position.

    Where the filters do not select it, these are the archives around the place where it would stand; where
    the order gives it no place (no score of the concept), there are none. Looks through all shards.
    """
    place = _place(concepts, record, listing, shard, row)
    total = position = 0
    is_listed = False
    previous: Place | None = None
    following: Place | None = None
    for other in concepts.archived_shards(record):
        keys = _keys(concepts, record, listing, other)
        total += len(keys.rows_R)
        if place is None:
            continue
        earlier_R, later_R = keys.earlier(place), keys.later(place)
        before, after = int(earlier_R.sum()), int(later_R.sum())
        position += before
        is_listed |= before + after < len(keys.rows_R)
        if before:
            last = _last(_Keys(keys.keys_R[earlier_R], keys.rows_R[earlier_R]))
            previous = last if previous is None else max(previous, last)
        if after:
            (nearest,) = _places(_first_of(_Keys(keys.keys_R[later_R], keys.rows_R[later_R]), 1), 1)
            following = nearest if following is None else min(following, nearest)
    return Surroundings(
        previous=None if previous is None else previous.row,
        next=None if following is None else following.row,
        position=position if is_listed else None,
        total=total,
    )


def _keys(concepts: Concepts, record: CurationRecord, listing: Listing, shard: CurationShardRecord) -> _Keys:
    rows_R = matching_rows(concepts, record, shard, listing.filters)
    return _Keys(_keys_of(concepts, record, listing, shard, rows_R), rows_R + shard.first_row)


def _keys_of(
    concepts: Concepts, record: CurationRecord, listing: Listing, shard: CurationShardRecord, rows_R: Ids
) -> Floats:
    """Return the key of each of these rows of a shard, which all have the concept that was asked for."""
    match listing.order:
        case "sample":
            return np.zeros(len(rows_R), np.float32)
        case "-gain":
            return -concepts.columns(record, shard).gains_B[rows_R].astype(np.float32)
        case "-best_added":
            return -concepts.columns(record, shard).best_added_B[rows_R]
        case "score":
            return concepts.index(record, shard).scores(listing.filters.archive[0], rows_R)
        case "-score":
            return -concepts.index(record, shard).scores(listing.filters.archive[0], rows_R)


def _place(
    concepts: Concepts, record: CurationRecord, listing: Listing, shard: CurationShardRecord, row: int
) -> Place | None:
    if listing.order in ("score", "-score"):
        index = concepts.index(record, shard)
        if listing.filters.archive[0] not in index.concepts_C[index.archive(row)]:
            return None
    keys_R = _keys_of(concepts, record, listing, shard, np.array([row]))
    return Place(float(keys_R[0]), shard.first_row + row)


def _first(left: _Keys, right: _Keys, limit: int) -> _Keys:
    """Return the first of both together; rows of `right` are larger than those of `left`."""
    joined = _Keys(np.concatenate([left.keys_R, right.keys_R]), np.concatenate([left.rows_R, right.rows_R]))
    return _first_of(joined, limit)


def _first_of(keys: _Keys, limit: int) -> _Keys:
    """Return the first places; of equal keys, rows ascend already, so a stable sort keeps their order."""
    if len(keys.keys_R) > 4 * limit:
        # Sorting ten thousand keys to keep a few takes longer than finding the largest of these.
        kept_R = keys.keys_R <= np.partition(keys.keys_R, limit - 1)[limit - 1]
        keys = _Keys(keys.keys_R[kept_R], keys.rows_R[kept_R])
    order_R = np.argsort(keys.keys_R, kind="stable")[:limit]
    return _Keys(keys.keys_R[order_R], keys.rows_R[order_R])


def _last(keys: _Keys) -> Place:
    key = keys.keys_R.max()
    return Place(float(key), int(keys.rows_R[keys.keys_R == key][-1]))


def _places(keys: _Keys, limit: int) -> tuple[Place, ...]:
    return tuple(
        Place(key, row)
        for key, row in zip(keys.keys_R[:limit].tolist(), keys.rows_R[:limit].tolist(), strict=True)
    )
