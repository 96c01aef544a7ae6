"""Tables that requests read again and again, kept while there is room: all of them are immutable."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa

from cocu.storage import tables
from cocu.storage.objects import ObjectStore


class TableCache:
    """The most recently read tables of one kind; `room` of at most 10,000 samples each."""

    def __init__(self, objects: ObjectStore, *, room: int, columns: Sequence[str] | None = None) -> None:
        self._objects = objects
        self._room = room
        self._columns = columns
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()

    def table(self, path: str) -> pa.Table:
        """The table at this path. Raises NotFoundError, IntegrityError."""
        with self._lock:
            if path in self._tables:
                self._tables.move_to_end(path)
                return self._tables[path]
        # Read without the lock: two requests may read the same table once each, but none waits for another's.
        table = tables.read_table(self._objects, path, columns=self._columns)
        with self._lock:
            self._tables[path] = table
            while len(self._tables) > self._room:
                self._tables.popitem(last=False)
        return table
