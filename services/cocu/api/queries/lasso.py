"""The lasso: archives whose points on a map a polygon encloses, or those of a region, as a filter of lists.

A lasso is part of a link, so it is short: at most 64 corners of two 16-bit numbers, little-endian, base64url
without padding. What it encloses is exact, and computed once for a process: a pass over the points of the
projection (a million points and 64 corners: some tenths of a second), then 4 bytes for each enclosed one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.projections import Points, Projections
from cocu.catalog.projections import ProjectionRecord
from cocu.curation.archives import Ids
from cocu.errors import InvalidInputError
from cocu.projections.polygon import enclosed

FEWEST_CORNERS, MOST_CORNERS = 3, 64
BYTES_PER_CORNER = 4
LONGEST = -(-MOST_CORNERS * BYTES_PER_CORNER * 4 // 3)
"""Characters of a lasso with the most corners."""
KEPT = 256
KEPT_BYTES = 64 << 20
"""The memory of a process for what lassos enclose. Others are computed again."""

Corners = tuple[tuple[int, int], ...]
_Rows = Mapping[str, NDArray[np.int32]]


@dataclass(frozen=True)
class Lasso:
    """A part of a projection: what a polygon encloses, a region, or where both meet.

    Two are equal when they are the same part by their corners (none: everywhere) and their region.
    """

    projection: str
    corners: Corners
    region: int | None
    dataset: str = field(compare=False, repr=False)
    find: Callable[[], _Rows] = field(compare=False, repr=False)

    def rows(self, shard_id: str) -> Ids:
        """Return the rows of a shard whose points are enclosed, ascending, int64."""
        rows = self.find().get(shard_id)
        return np.zeros(0, np.int64) if rows is None else rows.astype(np.int64)


class Lassos:
    """Lassos on every projection of a platform."""

    def __init__(self, projections: Projections) -> None:
        self._projections = projections
        self._rows: LruCache[tuple[str, Corners, int | None], _Rows] = LruCache(
            KEPT, size_of=lambda rows: sum(part.nbytes for part in rows.values()), max_size=KEPT_BYTES
        )

    def read(
        self, *, tenant: str, lasso: str | None, projection: str | None, region: int | None = None
    ) -> Lasso | None:
        """Return the part of a map that a query describes, None without one.

        Raises InvalidInputError for a malformed lasso, for a lasso or a region without a projection or the
        other way round, and for an unknown projection; ConflictError while the projection is not completed.
        A region that there is not is empty.
        """
        if lasso is None and region is None:
            if projection is not None:
                raise _refuse_alone("projection", "lasso or region")
            return None
        if projection is None:
            raise _refuse_alone("lasso" if lasso is not None else "region", "projection")
        corners = () if lasso is None else decode(lasso)
        record = self._projections.named(tenant=tenant, projection=projection)
        return Lasso(
            record.id, corners, region, record.dataset_id, lambda: self._find(record, corners, region)
        )

    def _find(self, record: ProjectionRecord, corners: Corners, region: int | None) -> _Rows:
        return self._rows.get(
            (record.id, corners, region),
            lambda: selected_rows(self._projections.points(record), corners, region),
        )


def decode(text: str) -> Corners:
    """Return the corners (x, y) of a lasso. Raises InvalidInputError."""
    try:
        data = base64.b64decode(
            (text + "=" * (-len(text) % 4)).encode("ascii"), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeError) as error:
        raise _refuse("it is no base64url text") from error
    count, rest = divmod(len(data), BYTES_PER_CORNER)
    if rest:
        raise _refuse(f"it has {len(data)} bytes; each corner has {BYTES_PER_CORNER}")
    if not FEWEST_CORNERS <= count <= MOST_CORNERS:
        raise _refuse(f"it has {count} corners; give {FEWEST_CORNERS} to {MOST_CORNERS}")
    return tuple((x, y) for x, y in np.frombuffer(data, "<u2").reshape(-1, 2).tolist())


def selected_rows(points: Points, corners: Corners, region: int | None = None) -> _Rows:
    """Return the rows of each shard whose points are enclosed (without corners: all) and of this region.

    Ascending; shards without any are left out.
    """
    selected_P = enclosed(points.x_P, points.y_P, corners) if corners else np.ones(len(points.x_P), np.bool_)
    if region is not None:
        selected_P &= points.regions_P == region
    rows_R = np.sort(points.rows_P[selected_P]).astype(np.int64)
    edges = [(shard.shard_id, shard.first_row, shard.first_row + shard.samples) for shard in points.shards]
    rows: dict[str, NDArray[np.int32]] = {}
    for shard_id, first_row, end in edges:
        first, last = np.searchsorted(rows_R, (first_row, end)).tolist()
        if last > first:
            rows[shard_id] = (rows_R[first:last] - first_row).astype(np.int32)
    return rows


def _refuse_alone(parameter: str, missing: str) -> InvalidInputError:
    return InvalidInputError(
        "A part of a map is selected on a projection.",
        {f"query.{parameter}": f"give {missing} too, or leave it out"},
    )


def _refuse(problem: str) -> InvalidInputError:
    return InvalidInputError(
        "This is no lasso.",
        {"query.lasso": f"{problem}: corners of two 16-bit numbers, little-endian, as base64url"},
    )
