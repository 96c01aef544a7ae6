"""A cache of tables that many requests read; all of them are immutable."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from cocu.api.queries.lru_cache import LruCache
from cocu.storage import tables
from cocu.storage.objects import ObjectStore

MAX_BYTES = 256 << 20
"""Of all tables of one cache. Captions may be 64 kB long, so a number of tables is no bound."""


class TableCache:
    """Keeps the `room` most recently read tables of one kind, of at most 10,000 samples each.

    columns: what is read of them; None for all.
    """

    def __init__(self, objects: ObjectStore, *, room: int, columns: Sequence[str] | None = None) -> None:
        self._objects = objects
        self._columns = columns
        self._tables: LruCache[str, pa.Table] = LruCache(
            room, size_of=lambda table: int(table.nbytes), max_size=MAX_BYTES
        )

    def table(self, path: str, *, content_hash: str | None = None) -> pa.Table:
        """Return the table at this path. content_hash: the hash that its values must have.

        Raises NotFoundError, IntegrityError.
        """
        return self._tables.get(
            path,
            lambda: tables.read_table(self._objects, path, columns=self._columns, content_hash=content_hash),
        )

    def find(self, path: str) -> pa.Table | None:
        """Return the table at this path if it is cached."""
        return self._tables.find(path)
