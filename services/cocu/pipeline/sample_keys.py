"""The samples of earlier uploads by their keys, which a later upload must not repeat."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa

from cocu.catalog import samples
from cocu.catalog.uploads import UploadRecord
from cocu.formats.records import content_key
from cocu.platform import Platform
from cocu.storage import paths, tables

MAX_TABLES = 4
"""The number of sample tables held in memory at once."""


class EarlierSamples:
    """The samples of all uploads before the given one."""

    def __init__(self, platform: Platform, upload: UploadRecord) -> None:
        self._platform = platform
        self._upload = upload
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()

    def contents(self, keys: Sequence[str]) -> dict[str, str]:
        """Return, for those of the keys that an earlier upload owns, the content keys of their samples."""
        upload = self._upload
        assert upload.ordinal is not None
        taken = samples.owned_before(
            self._platform.catalog, dataset_id=upload.dataset_id, ordinal=upload.ordinal, keys=keys
        )
        if not taken:
            return {}
        records = samples.find_many(
            self._platform.catalog, tenant=upload.tenant, dataset_id=upload.dataset_id, keys=sorted(taken)
        )
        # A key without a record belongs to an upload that is being read again just now. If that upload gets
        # the key again, `store_ingested` plans to read this upload again, too.
        return {key: self._content(record.shard_id, record.row) for key, record in records.items()}

    def _content(self, shard_id: str, row: int) -> str:
        table = self._table(shard_id)
        return content_key(table["sha256"][row].as_py(), table["caption"][row].as_py())

    def _table(self, shard_id: str) -> pa.Table:
        if shard_id not in self._tables:
            path = paths.samples(self._upload.dataset_id, shard_id)
            columns = ("sha256", "caption")
            self._tables[shard_id] = tables.read_table(self._platform.objects, path, columns=columns)
            if len(self._tables) > MAX_TABLES:
                self._tables.popitem(last=False)
        return self._tables[shard_id]
