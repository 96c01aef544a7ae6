"""Archives by key and in pages, each concept with the captions that named it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cocu.api.reading.changed import changed_lists
from cocu.api.reading.recent import Recent
from cocu.api.reading.samples import Samples
from cocu.api.reading.tables import TableCache
from cocu.client import models
from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION
from cocu.errors import ConflictError, InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import paths, tables
from cocu.storage.catalog import curations, samples
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.records import Page
from cocu.storage.catalog.states import COMPLETED_CURATIONS

TABLES = 8
LAYOUTS = 64
SNAPSHOTS = 32
MOST_SHARDS_OF_A_PAGE = 20
"""How many shards one request looks through; a page that finds little then ends early, with a cursor."""


@dataclass(frozen=True)
class ArchiveFilter:
    """Which archives are wanted: those with at least one concept that satisfies all of what is given.

    changed: asks for archives whose neighbour lists are (not) others than in the curation before.
    """

    concept: str | None = None
    added: bool | None = None
    min_score: float | None = None
    changed: bool | None = None

    @property
    def any_concept(self) -> bool:
        """Whether it does not matter which concepts an archive has."""
        return self.concept is None and self.added is None and self.min_score is None


class Archives:
    """Archives of every curation of a platform."""

    def __init__(self, platform: Platform, samples_: Samples) -> None:
        self._platform = platform
        self._samples = samples_
        self._tables = TableCache(platform.objects, room=TABLES)
        self._layouts: Recent[tuple[str, str], tables.Layout] = Recent(LAYOUTS)
        self._snapshots: Recent[tuple[str, str | None], Sequence[CurationShardRecord]] = Recent(SNAPSHOTS)

    def completed(self, *, tenant: str, curation: str) -> CurationRecord:
        """The curation, once there are archives. Raises NotFoundError, ConflictError while there are none."""
        record = curations.get(self._platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS:
            raise ConflictError(
                f"curation {curation} is {record.state}; archives can be read when it is completed"
            )
        return record

    def get(self, record: CurationRecord, key: str) -> models.Archive:
        """The archive of one sample of a completed curation. Raises NotFoundError."""
        found = samples.find(
            self._platform.catalog, tenant=record.tenant, dataset_id=record.dataset_id, key=key
        )
        snapshot = self._snapshot(record)
        shard = next((each for each in snapshot if each.shard_id == found.shard_id), None)
        if shard is None or shard.content_hash is None:
            raise NotFoundError(
                f"curation {record.id} has no archive of {key!r}: it was uploaded later, or failed"
            )
        path = paths.archives(record.id, shard.shard_id)
        layout = self._layouts.get(
            (path, shard.content_hash), lambda: tables.read_layout(self._platform.objects, path)
        )
        row = tables.read_row(self._platform.objects, path, found.row, layout=layout)
        return self._archive(record, snapshot, shard, found.row, row)

    def _snapshot(self, record: CurationRecord) -> Sequence[CurationShardRecord]:
        """The shards of a completed curation, in order."""
        return self._snapshots.get(
            (record.id, record.content_hash),
            lambda: curations.shards(self._platform.catalog, curation_id=record.id),
        )

    def list_page(
        self, record: CurationRecord, *, wanted: ArchiveFilter, limit: int, after: str | None
    ) -> Page[models.Archive]:
        """The wanted archives in sample order; `after` is the global row to begin with.

        Raises InvalidInputError for a concept that the vocabulary does not have.
        """
        wanted = self._resolved(record, wanted)
        snapshot = self._snapshot(record)
        begin = 0 if after is None else int(after)
        items: list[models.Archive] = []
        for shard in _from_row(snapshot, begin):
            table = self._table(record, shard)
            for row in self._matching(record, shard, table, wanted, begin - shard.first_row):
                if len(items) == limit:
                    return Page(items=tuple(items), next=str(shard.first_row + row))
                items.append(self._archive(record, snapshot, shard, row, _row(table, row)))
        following = _first_row_after(snapshot, begin)
        return Page(items=tuple(items), next=None if following is None else str(following))

    def _resolved(self, record: CurationRecord, wanted: ArchiveFilter) -> ArchiveFilter:
        """The filter with the concept by its name, whatever form of it was asked for."""
        if wanted.concept is None:
            return wanted
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        found = vocabulary.find(wanted.concept)
        if found is None:
            raise InvalidInputError(
                "The vocabulary of this curation has no such concept.",
                {"query.concept": "list the concepts with GET /v1/vocabularies/{id}/concepts"},
            )
        return replace(wanted, concept=vocabulary.names[found])

    def _table(self, record: CurationRecord, shard: CurationShardRecord) -> pa.Table | None:
        if shard.content_hash is None:
            return None
        return self._tables.table(paths.archives(record.id, shard.shard_id))

    def _matching(
        self,
        record: CurationRecord,
        shard: CurationShardRecord,
        table: pa.Table | None,
        wanted: ArchiveFilter,
        begin: int,
    ) -> Iterator[int]:
        """The rows of a shard that are wanted, from `begin` on."""
        if table is None:
            return
        every = wanted.any_concept
        rows = np.arange(table.num_rows) if every else self._filtered(record, shard, table, wanted)
        if wanted.changed is not None:
            rows = rows[changed_lists(self._platform, record, shard)[rows] == wanted.changed]
        yield from rows[rows >= begin].tolist()

    def _filtered(
        self, record: CurationRecord, shard: CurationShardRecord, table: pa.Table, wanted: ArchiveFilter
    ) -> NDArray[np.int64]:
        lists = table["concepts"].combine_chunks()
        concepts, owners = lists.flatten(), pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        satisfied = np.ones(len(concepts), dtype=bool)
        if wanted.concept is not None:
            satisfied &= _numpy(pc.equal(pc.struct_field(concepts, "concept"), wanted.concept))
        if wanted.min_score is not None:
            satisfied &= _numpy(pc.struct_field(concepts, "score")) >= wanted.min_score
        if wanted.added is not None:
            satisfied &= self._added(record, shard, concepts, owners) == wanted.added
        return np.unique(owners[satisfied]).astype(np.int64)

    def _added(
        self,
        record: CurationRecord,
        shard: CurationShardRecord,
        concepts: pa.StructArray,
        owners: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Whether the own caption does not name each concept."""
        if record.parameters.get("own_caption", True):
            origins = pc.struct_field(concepts, "origins")
            first = np.asarray(origins.offsets)[:-1]
            values = np.append(np.asarray(origins.values), OWN_CAPTION - 1)
            return np.asarray(values[first] != OWN_CAPTION)
        names = pc.struct_field(concepts, "concept").to_pylist()
        own = {row: self._own_concepts(record, shard, row) for row in set(owners.tolist())}
        return np.array(
            [name not in own[row] for row, name in zip(owners.tolist(), names, strict=True)], dtype=bool
        )

    def _own_concepts(self, record: CurationRecord, shard: CurationShardRecord, row: int) -> set[str]:
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        _, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        return {vocabulary.names[concept] for concept in vocabulary.match(caption)}

    def _archive(
        self,
        record: CurationRecord,
        snapshot: Sequence[CurationShardRecord],
        shard: CurationShardRecord,
        row: int,
        values: Mapping[str, Any],
    ) -> models.Archive:
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        neighbours = [
            (*self._of_global_row(record, snapshot, each), float(similarity))
            for each, similarity in zip(values["neighbours"], values["neighbour_similarities"], strict=True)
        ]
        own = None if record.parameters.get("own_caption", True) else self._own_concepts(record, shard, row)
        return models.Archive(
            curation=record.id,
            dataset=record.dataset_id,
            key=key,
            caption=caption,
            concepts=[_concept(each, key, caption, neighbours, own) for each in values["concepts"]],
            changed=bool(changed_lists(self._platform, record, shard)[row]),
            neighbours=[models.Neighbour(key=name, similarity=cosine) for name, _, cosine in neighbours],
            **self._samples.pictures(record.dataset_id, shard.shard_id, row),
        )

    def _of_global_row(
        self, record: CurationRecord, snapshot: Sequence[CurationShardRecord], row: int
    ) -> tuple[str, str]:
        shard = snapshot[bisect_right([each.first_row for each in snapshot], row) - 1]
        return self._samples.key_and_caption(record.dataset_id, shard.shard_id, row - shard.first_row)


def _concept(
    values: Mapping[str, Any],
    key: str,
    caption: str,
    neighbours: Sequence[tuple[str, str, float]],
    own: set[str] | None,
) -> models.ArchiveConcept:
    origins = [_origin(each, key, caption, neighbours) for each in values["origins"]]
    named_here = OWN_CAPTION in values["origins"] if own is None else values["concept"] in own
    return models.ArchiveConcept(
        concept=values["concept"],
        score=values["score"],
        **{"global": values["global"], "local": values["local"]},
        cluster=None if values["cluster"] == NO_CLUSTER else values["cluster"],
        added=not named_here,
        origins=origins,
    )


def _origin(
    position: int, key: str, caption: str, neighbours: Sequence[tuple[str, str, float]]
) -> models.Origin:
    if position == OWN_CAPTION:
        return models.Origin(kind="own_caption", key=key, similarity=1.0, caption=caption)
    name, text, similarity = neighbours[position]
    return models.Origin(kind="neighbour", key=name, similarity=similarity, caption=text)


def _from_row(snapshot: Sequence[CurationShardRecord], row: int) -> Sequence[CurationShardRecord]:
    """The shards that one request looks through, beginning with the one that holds this row."""
    rest = [shard for shard in snapshot if shard.first_row + shard.samples > row]
    return rest[:MOST_SHARDS_OF_A_PAGE]


def _first_row_after(snapshot: Sequence[CurationShardRecord], row: int) -> int | None:
    seen = _from_row(snapshot, row)
    if not seen or seen[-1] is snapshot[-1]:
        return None
    return seen[-1].first_row + seen[-1].samples


def _row(table: pa.Table, row: int) -> dict[str, Any]:
    values: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
    return values


def _numpy(array: pa.Array) -> NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False))
