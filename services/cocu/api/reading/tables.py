"""Tables that requests read again and again, kept while there is room: all of them are immutable."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from cocu.api.reading.recent import Recent
from cocu.storage import tables
from cocu.storage.objects import ObjectStore


class TableCache:
    """The most recently read tables of one kind; `room` of at most 10,000 samples each."""

    def __init__(self, objects: ObjectStore, *, room: int, columns: Sequence[str] | None = None) -> None:
        self._objects = objects
        self._columns = columns
        self._tables: Recent[str, pa.Table] = Recent(room)

    def table(self, path: str) -> pa.Table:
        """The table at this path. Raises NotFoundError, IntegrityError."""
        return self._tables.get(path, lambda: tables.read_table(self._objects, path, columns=self._columns))
