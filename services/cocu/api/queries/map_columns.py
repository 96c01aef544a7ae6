"""Columns of a map: a number of each archive for every point of a projection, for colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.api.binary_answers import arrow_stream
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.projections import Points
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archive_columns import NO_SCORE
from cocu.errors import InvalidInputError

MOST = 8
"""The most columns of one request."""
CONCEPT = "concept:"
NOT_THERE, IN_CAPTION, ADDED = 0, 1, 2
"""The values of the column of a concept."""

_NAMES = ("gain", "best_added", "changed")
_BETWEEN = re.compile(rf",(?=(?:{'|'.join(_NAMES)})(?:,|$)|{CONCEPT})")

Values = NDArray[Any]
Fill = Callable[[CurationRecord, CurationShardRecord], Values]


@dataclass(frozen=True)
class Column:
    """A column that was asked for: its name in the answer; the concept, of a column of a concept."""

    name: str
    concept: int | None = None


class MapColumns:
    """Columns of the archives of every curation of a platform."""

    def __init__(self, concepts: Concepts) -> None:
        self._concepts = concepts
        self._fills: dict[str, tuple[Any, Any, Fill]] = {
            "gain": (np.uint16, 0, self._gains),
            "best_added": (np.float32, np.nan, self._best_added),
            "changed": (np.uint8, 0, self._concepts.changed),
        }

    def resolve(self, record: CurationRecord, names: str) -> tuple[Column, ...]:
        """Return the columns that a query names. Raises InvalidInputError for names that are unknown.

        names: separated by commas; commas of concepts are none of these.
        """
        columns = [self._column(record, name) for name in _BETWEEN.split(names)]
        if len(columns) > MOST:
            raise _refuse(f"{len(columns)} columns were asked for; ask for at most {MOST}")
        if len(set(columns)) < len(columns):
            raise _refuse("a column is named twice; name each once")
        return tuple(columns)

    def stream(self, record: CurationRecord, points: Points, columns: Sequence[Column]) -> bytes:
        """Return the columns in the order of the points, as an Arrow stream of one record batch.

        gain: concepts that were added, uint16. best_added: the best score among these, float32, NaN without
        any. changed: 1 where the neighbours differ from those before the dataset grew, uint8. Of a concept: 0
        where the archive does not have it, 1 where the caption names it, 2 where it was added, uint8. Points
        without an archive in this curation are 0, or NaN. Reads a published file for each shard; memory: the
        answer, and as much for the rows of the dataset.
        """
        values = {column.name: pa.array(self._values(record, points, column)) for column in columns}
        return arrow_stream(pa.record_batch(values))

    def _column(self, record: CurationRecord, name: str) -> Column:
        if name in self._fills:
            return Column(name)
        if not name.startswith(CONCEPT):
            raise _refuse(f"there is no column {name[:80]!r}; there are {', '.join(_NAMES)} and concept:NAME")
        concept = self._concepts.find(record, name.removeprefix(CONCEPT), field="query.columns")
        return Column(name, concept)

    def _values(self, record: CurationRecord, points: Points, column: Column) -> Values:
        if column.concept is None:
            dtype, missing, fill = self._fills[column.name]
        else:
            dtype, missing = np.uint8, NOT_THERE
            fill = partial(self._places, concept=column.concept)
        values_N = np.full(points.row_count, missing, dtype)
        archived = {shard.shard_id: shard for shard in self._concepts.archived_shards(record)}
        for shard in points.shards:
            if shard.shard_id in archived:
                part = slice(shard.first_row, shard.first_row + shard.samples)
                values_N[part] = fill(record, archived[shard.shard_id])
        return values_N[points.rows_P]

    def _gains(self, record: CurationRecord, shard: CurationShardRecord) -> Values:
        return np.minimum(self._concepts.columns(record, shard).gains_B, np.iinfo(np.uint16).max)

    def _best_added(self, record: CurationRecord, shard: CurationShardRecord) -> Values:
        best_B = self._concepts.columns(record, shard).best_added_B
        return np.where(best_B > NO_SCORE, best_B, np.nan)

    def _places(self, record: CurationRecord, shard: CurationShardRecord, concept: int) -> Values:
        index = self._concepts.index(record, shard)
        places_B = np.full(shard.samples, NOT_THERE, np.uint8)
        places_B[index.archived(concept, added=True)] = ADDED
        places_B[index.captioned(concept)] = IN_CAPTION
        return places_B


def _refuse(problem: str) -> InvalidInputError:
    return InvalidInputError("These columns cannot be given.", {"query.columns": problem})
