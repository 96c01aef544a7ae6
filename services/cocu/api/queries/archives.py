"""Archives by key and in pages, each concept with the captions that named it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from cocu import schemas
from cocu.api.queries.changes import changed_lists
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.samples import Samples
from cocu.api.queries.tables import TableCache
from cocu.catalog import curations, samples
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.states import COMPLETED_CURATIONS
from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION
from cocu.errors import ConflictError, NotFoundError
from cocu.platform import Platform
from cocu.storage import paths, tables

TABLES = 8
LAYOUTS = 64
SNAPSHOTS = 32
ROWS_FOR_TABLE = 16
"""From this many archives of a shard on, its table is read as a whole and kept; fewer are read one by one."""


@dataclass(frozen=True)
class StoredArchive:
    """An archive as it is stored: a row of a shard, and its values as the table of archives has them."""

    shard: CurationShardRecord
    row: int
    values: Mapping[str, Any]


class Archives:
    """Archives of every curation of a platform."""

    def __init__(self, platform: Platform, samples_: Samples) -> None:
        self._platform = platform
        self._samples = samples_
        self._tables = TableCache(platform.objects, room=TABLES)
        self._layouts: LruCache[tuple[str, str], tables.Layout] = LruCache(LAYOUTS)
        self._snapshots: LruCache[tuple[str, str | None], Sequence[CurationShardRecord]] = LruCache(SNAPSHOTS)

    def completed(self, *, tenant: str, curation: str) -> CurationRecord:
        """Return a completed curation. Raises NotFoundError, ConflictError while it is not completed."""
        record = curations.get(self._platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS:
            raise ConflictError(
                f"curation {curation} is {record.state}; archives can be read when it is completed"
            )
        return record

    def find(self, record: CurationRecord, key: str) -> StoredArchive:
        """Return the archive of one sample of a completed curation, as stored. Raises NotFoundError."""
        sample = samples.find(
            self._platform.catalog, tenant=record.tenant, dataset_id=record.dataset_id, key=key
        )
        snapshot = self._snapshot(record)
        shard = next((shard for shard in snapshot if shard.shard_id == sample.shard_id), None)
        if shard is None or shard.content_hash is None:
            raise NotFoundError(
                f"curation {record.id} has no archive of {key!r}: it was uploaded later, or failed"
            )
        values = self._values(record, shard, sample.row, 1)
        return StoredArchive(shard, sample.row, values)

    def describe(self, record: CurationRecord, stored: StoredArchive) -> schemas.Archive:
        """Return a stored archive with keys and captions in place of rows."""
        return self._archive(record, stored.shard, stored.row, stored.values)

    def describe_row(
        self,
        record: CurationRecord,
        shard: CurationShardRecord,
        row: int,
        values: Mapping[str, Any],
        *,
        own_caption: bool,
    ) -> schemas.Archive:
        """Return an archive of a sample of a curation's snapshot that has other values than its own."""
        changed = replace(record, parameters={**record.parameters, "own_caption": own_caption})
        return self._archive(changed, shard, row, values)

    def place(self, record: CurationRecord, row: int) -> tuple[str, int]:
        """Return the shard of a global row of the snapshot, and its row in that shard."""
        snapshot = self._snapshot(record)
        shard = snapshot[bisect_right([shard.first_row for shard in snapshot], row) - 1]
        return shard.shard_id, row - shard.first_row

    def _snapshot(self, record: CurationRecord) -> Sequence[CurationShardRecord]:
        """The shards of a completed curation, in order."""
        return self._snapshots.get(
            (record.id, record.content_hash),
            lambda: curations.shards(self._platform.catalog, curation_id=record.id),
        )

    def at(
        self, record: CurationRecord, places: Sequence[tuple[CurationShardRecord, int]]
    ) -> list[schemas.Archive]:
        """Return the archives at these places: shards, and rows in them."""
        counts = Counter(shard.shard_id for shard, _ in places)
        return [
            self._archive(record, shard, row, self._values(record, shard, row, counts[shard.shard_id]))
            for shard, row in places
        ]

    def _values(
        self, record: CurationRecord, shard: CurationShardRecord, row: int, rows: int
    ) -> Mapping[str, Any]:
        """Return a row of the table of archives; `rows` are read of this table for the same request."""
        path = paths.archives(record.id, shard.shard_id)
        if rows >= ROWS_FOR_TABLE:
            return _row(self._tables.table(path, content_hash=shard.content_hash), row)
        return tables.read_row(self._platform.objects, path, row, layout=self._layout(record, shard))

    def _layout(self, record: CurationRecord, shard: CurationShardRecord) -> tables.Layout:
        path, content_hash = paths.archives(record.id, shard.shard_id), shard.content_hash
        return self._layouts.get(
            (path, content_hash or ""),
            lambda: tables.read_layout(self._platform.objects, path, content_hash=content_hash),
        )

    def _own_concepts(self, record: CurationRecord, shard: CurationShardRecord, row: int) -> set[str]:
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        _, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        return {vocabulary.names[concept] for concept in vocabulary.match(caption)}

    def _archive(
        self,
        record: CurationRecord,
        shard: CurationShardRecord,
        row: int,
        values: Mapping[str, Any],
    ) -> schemas.Archive:
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        neighbours = [
            (*self._of_global_row(record, row), float(similarity))
            for row, similarity in zip(values["neighbours"], values["neighbour_similarities"], strict=True)
        ]
        own = self.named_by_own_caption(record, shard, row)
        return schemas.Archive(
            curation=record.id,
            dataset=record.dataset_id,
            key=key,
            caption=caption,
            concepts=[_concept(concept, key, caption, neighbours, own) for concept in values["concepts"]],
            changed=bool(changed_lists(self._platform, record, shard)[row]),
            neighbours=[schemas.Neighbour(key=name, similarity=cosine) for name, _, cosine in neighbours],
            **self._samples.image_paths(record.dataset_id, shard.shard_id, row),
        )

    def named_by_own_caption(
        self, record: CurationRecord, shard: CurationShardRecord, row: int
    ) -> set[str] | None:
        """Return the concepts that a sample's own caption names; None where the origins say it."""
        if record.parameters.get("own_caption", True):
            return None
        return self._own_concepts(record, shard, row)

    def _of_global_row(self, record: CurationRecord, row: int) -> tuple[str, str]:
        return self._samples.key_and_caption(record.dataset_id, *self.place(record, row))


def _concept(
    values: Mapping[str, Any],
    key: str,
    caption: str,
    neighbours: Sequence[tuple[str, str, float]],
    own: set[str] | None,
) -> schemas.ArchiveConcept:
    origins = [_origin(position, key, caption, neighbours) for position in values["origins"]]
    in_own_caption = OWN_CAPTION in values["origins"] if own is None else values["concept"] in own
    return schemas.ArchiveConcept(
        concept=values["concept"],
        score=values["score"],
        **{"global": values["global"], "local": values["local"]},
        cluster=None if values["cluster"] == NO_CLUSTER else values["cluster"],
        added=not in_own_caption,
        origins=origins,
    )


def _origin(
    position: int, key: str, caption: str, neighbours: Sequence[tuple[str, str, float]]
) -> schemas.Origin:
    if position == OWN_CAPTION:
        return schemas.Origin(kind="own_caption", key=key, similarity=1.0, caption=caption)
    name, text, similarity = neighbours[position]
    return schemas.Origin(kind="neighbour", key=name, similarity=similarity, caption=text)


def _row(table: pa.Table, row: int) -> dict[str, Any]:
    values: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
    return values
