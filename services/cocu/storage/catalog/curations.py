"""Curations: what is fixed when one is created, and what becomes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from cocu.errors import ConflictError, InvalidInputError, NotFoundError
from cocu.storage.catalog import chunks, datasets, events, models, planning, retries
from cocu.storage.catalog.clock import Instant, database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.samples import ShardRecord
from cocu.storage.catalog.states import (
    ACTIVE_CURATIONS,
    UNFINISHED_CHUNKS,
    ChunkState,
    CurationState,
    DatasetState,
    EventKind,
    Stage,
    UploadState,
)


@dataclass(frozen=True)
class CurationRecord:
    """One run. `parameters` are those of `CurationParameters`; `statistics` is there when it is published."""

    id: str
    tenant: str
    dataset_id: str
    snapshot_hash: str
    samples: int
    encoder: str
    encoder_hash: str
    vocabulary_id: str
    vocabulary_hash: str
    parameters: dict[str, Any]
    parameters_hash: str
    state: str
    stage: str
    content_hash: str | None
    statistics: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class CurationShardRecord:
    """A shard of a curation's snapshot: its samples are the global rows from `first_row` on.

    revision: how often its embeddings had been mended when the run was created. usable: whether it has
    embeddings in this run. content_hash: of its archives, None while there are none.
    """

    shard_id: str
    ordinal: int
    first_row: int
    samples: int
    sha256: str
    revision: int
    usable: bool
    content_hash: str | None


@dataclass(frozen=True)
class Created:
    """What creating a curation did: `new` unless it existed; `chunks` are (id, stage) to enqueue."""

    curation: CurationRecord
    new: bool
    chunks: tuple[chunks.Planned, ...]


def snapshot_hash(shards: Sequence[str]) -> str:
    """Hash of the content of a snapshot, from its shards' hashes in order; the same in any dataset."""
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()


def identity(
    *,
    dataset_id: str,
    snapshot: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters_hash: str,
    revisions: Mapping[str, int] | None = None,
) -> str:
    """The id of a curation: a hash of everything its result depends on, and of the dataset it belongs to.

    revisions: how often the embeddings of shards were mended, of those where they were.
    """
    mended = [f"{shard} {revision}" for shard, revision in sorted((revisions or {}).items())]
    document = "\n".join((dataset_id, snapshot, encoder_hash, vocabulary_hash, parameters_hash, *mended))
    return hashlib.sha256(document.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Ahead:
    """The curation that would be created now; `existing` where it has been created before."""

    curation_id: str
    existing: CurationRecord | None
    snapshot: str
    shards: tuple[ShardRecord, ...]
    revisions: Mapping[str, int]

    def numbered(self) -> list[CurationShardRecord]:
        """Its snapshot as it will be remembered."""
        rows: list[CurationShardRecord] = []
        first_row = 0
        for ordinal, shard in enumerate(self.shards):
            row = CurationShardRecord(
                shard_id=shard.id,
                ordinal=ordinal,
                first_row=first_row,
                samples=shard.samples,
                sha256=shard.sha256,
                revision=self.revisions.get(shard.id, 0),
                usable=False,
                content_hash=None,
            )
            rows.append(row)
            first_row += shard.samples
        return rows


def look_ahead(
    connection: Connection,
    *,
    dataset_id: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters_hash: str,
) -> Ahead:
    """Which curation of what the dataset holds now these choices are. Raises ConflictError as `create`."""
    shards = _snapshot(connection, dataset_id=dataset_id)
    snapshot = snapshot_hash([shard.sha256 for shard in shards])
    mended = retries.revisions(connection, dataset_id=dataset_id, encoder_hash=encoder_hash)
    revisions = {shard.id: mended[shard.id] for shard in shards if shard.id in mended}
    curation_id = identity(
        dataset_id=dataset_id,
        snapshot=snapshot,
        encoder_hash=encoder_hash,
        vocabulary_hash=vocabulary_hash,
        parameters_hash=parameters_hash,
        revisions=revisions,
    )
    existing = _find(connection, curation_id)
    return Ahead(curation_id, existing, snapshot, tuple(shards), revisions)


@repeated
def create(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    encoder: str,
    encoder_hash: str,
    vocabulary_id: str,
    vocabulary_hash: str,
    parameters: dict[str, Any],
    parameters_hash: str,
) -> Created:
    """The curation of what the dataset holds now. Asking again for the same gives the same one.

    One that failed, was cancelled or completed with errors is started again by that. Raises NotFoundError
    without the dataset, ConflictError while uploads are being ingested, or samples embedded again, or when no
    sample was accepted.
    """
    with catalog.write() as connection:
        _require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        ahead = look_ahead(
            connection,
            dataset_id=dataset_id,
            encoder_hash=encoder_hash,
            vocabulary_hash=vocabulary_hash,
            parameters_hash=parameters_hash,
        )
        curation_id, existing = ahead.curation_id, ahead.existing
        if existing is not None and existing.state in (*ACTIVE_CURATIONS, CurationState.COMPLETED):
            return Created(curation=existing, new=False, chunks=())
        if existing is None:
            values: dict[str, Any] = {
                "id": curation_id,
                "tenant": tenant,
                "dataset_id": dataset_id,
                "snapshot_hash": ahead.snapshot,
            }
            values |= {"samples": sum(shard.samples for shard in ahead.shards), "encoder": encoder}
            values |= {"encoder_hash": encoder_hash, "vocabulary_id": vocabulary_id}
            values |= {"vocabulary_hash": vocabulary_hash, "parameters_hash": parameters_hash}
            values |= {"state": CurationState.QUEUED, "stage": Stage.EMBED}
            connection.execute(insert(models.Curation).values(**values, parameters=parameters))
            rows = [
                {"curation_id": curation_id, "tenant": tenant} | asdict(each) for each in ahead.numbered()
            ]
            connection.execute(insert(models.CurationShard), rows)
        else:
            _forget_progress(connection, curation_id)
        state = {"state": CurationState.QUEUED}
        events.add(connection, tenant=tenant, curation_id=curation_id, kind=EventKind.STATE, data=state)
        planned = planning.begin(connection, curation_id=curation_id)
        record = _find(connection, curation_id)
    assert record is not None
    return Created(curation=record, new=existing is None, chunks=tuple(planned))


@repeated
def get(catalog: Catalog, *, tenant: str, curation_id: str) -> CurationRecord:
    """The curation. Raises NotFoundError when the tenant has none of this id."""
    with catalog.read() as connection:
        record = _find(connection, curation_id, visible=True)
    if record is None or record.tenant != tenant:
        raise NotFoundError(f"no curation {curation_id!r}")
    return record


@repeated
def of_chunk(catalog: Catalog, *, curation_id: str) -> CurationRecord:
    """The curation that a chunk is about. Raises NotFoundError when it was deleted."""
    with catalog.read() as connection:
        record = _find(connection, curation_id)
    if record is None:
        raise NotFoundError(f"no curation {curation_id!r}")
    return record


@repeated
def list_page(
    catalog: Catalog,
    *,
    tenant: str,
    limit: int,
    after: str | None = None,
    dataset_id: str | None = None,
    state: str | None = None,
) -> Page[CurationRecord]:
    """The tenant's curations, oldest first; of one dataset or state if given.

    Raises InvalidInputError when `after` is not the `next` of a page.
    """
    created, key = models.Curation.created_at, models.Curation.id
    statement = (
        _select_visible().where(models.Curation.tenant == tenant).order_by(created, key).limit(limit + 1)
    )
    if after is not None:
        moment, found = _cursor(after)
        statement = statement.where((created > moment) | ((created == moment) & (key > found)))
    if dataset_id is not None:
        statement = statement.where(models.Curation.dataset_id == dataset_id)
    if state is not None:
        statement = statement.where(models.Curation.state == state)
    with catalog.read() as connection:
        records = fetch_all(connection, CurationRecord, statement)
    return page_of(records, limit, [f"{one.created_at.timestamp()!r}:{one.id}" for one in records])


@repeated
def shards(catalog: Catalog, *, curation_id: str) -> list[CurationShardRecord]:
    """The snapshot of a curation in order."""
    statement = (
        select_record(CurationShardRecord, models.CurationShard)
        .where(models.CurationShard.curation_id == curation_id)
        .order_by(models.CurationShard.ordinal)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationShardRecord, statement)


@repeated
def cancel(catalog: Catalog, *, tenant: str, curation_id: str) -> CurationRecord:
    """Stops a curation in progress; one that has ended stays as it is. Raises NotFoundError without it."""
    with catalog.write() as connection:
        locked = select(models.Curation.state).where(
            models.Curation.id == curation_id, models.Curation.tenant == tenant
        )
        state = connection.execute(locked.with_for_update(key_share=True)).scalar_one_or_none()
        if state in ACTIVE_CURATIONS:
            ended = {"state": CurationState.CANCELLED, "finished_at": database_seconds()}
            connection.execute(update(models.Curation).where(models.Curation.id == curation_id).values(ended))
            connection.execute(
                update(models.Chunk)
                .where(models.Chunk.curation_id == curation_id, models.Chunk.state.in_(UNFINISHED_CHUNKS))
                .values(state=ChunkState.CANCELLED, lease_owner=None)
            )
            change = {"state": CurationState.CANCELLED}
            events.add(connection, tenant=tenant, curation_id=curation_id, kind=EventKind.STATE, data=change)
    return get(catalog, tenant=tenant, curation_id=curation_id)


@repeated
def archived(catalog: Catalog, *, curation_id: str, shard_id: str, content_hash: str) -> None:
    """The archives of a shard lie in the object store and have this hash."""
    with catalog.write() as connection:
        connection.execute(
            update(models.CurationShard)
            .where(models.CurationShard.curation_id == curation_id, models.CurationShard.shard_id == shard_id)
            .values(content_hash=content_hash)
        )


@repeated
def published(catalog: Catalog, *, curation_id: str, content_hash: str, statistics: dict[str, Any]) -> None:
    """The hash over all archives and their summary are known."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Curation)
            .where(models.Curation.id == curation_id)
            .values(content_hash=content_hash, statistics=statistics)
        )


def _select_visible() -> Any:
    return (
        select_record(CurationRecord, models.Curation)
        .join(models.Dataset, models.Dataset.id == models.Curation.dataset_id)
        .where(models.Dataset.state == DatasetState.ACTIVE)
    )


_FIND = select_record(CurationRecord, models.Curation).where(models.Curation.id == bindparam("id"))
_FIND_VISIBLE = _select_visible().where(models.Curation.id == bindparam("id"))


def _find(connection: Connection, curation_id: str, visible: bool = False) -> CurationRecord | None:
    return fetch_one(connection, CurationRecord, _FIND_VISIBLE if visible else _FIND, {"id": curation_id})


def _require_dataset(connection: Connection, *, tenant: str, dataset_id: str) -> None:
    state = datasets.lock(connection, dataset_id=dataset_id)
    owner = connection.execute(select(models.Dataset.tenant).where(models.Dataset.id == dataset_id))
    if state != DatasetState.ACTIVE or owner.scalar_one_or_none() != tenant:
        raise NotFoundError(f"no dataset {dataset_id!r}")


def _snapshot(connection: Connection, *, dataset_id: str) -> list[ShardRecord]:
    waiting = select(models.Upload.name).where(
        models.Upload.dataset_id == dataset_id, models.Upload.state == UploadState.RECEIVED
    )
    name = connection.execute(waiting.limit(1)).scalar_one_or_none()
    if name is not None:
        raise ConflictError(f"upload {name!r} is still being ingested; curate the dataset when it is done")
    shards = fetch_all(
        connection,
        ShardRecord,
        select_record(ShardRecord, models.Shard)
        .where(models.Shard.dataset_id == dataset_id)
        .order_by(models.Shard.upload_ordinal, models.Shard.number),
    )
    if not shards:
        raise ConflictError(
            "the dataset has no accepted samples, so there is nothing to curate; see its report"
        )
    return shards


def _forget_progress(connection: Connection, curation_id: str) -> None:
    connection.execute(delete(models.Chunk).where(models.Chunk.curation_id == curation_id))
    connection.execute(
        update(models.CurationShard)
        .where(models.CurationShard.curation_id == curation_id)
        .values(usable=False, content_hash=None)
    )
    fresh: dict[str, Any] = {"state": CurationState.QUEUED, "stage": Stage.EMBED, "content_hash": None}
    fresh |= {"statistics": None, "error": None, "started_at": None, "finished_at": None}
    connection.execute(update(models.Curation).where(models.Curation.id == curation_id).values(fresh))


def _cursor(after: str) -> tuple[datetime, str]:
    seconds, separator, found = after.partition(":")
    try:
        moment = Instant().process_result_value(float(seconds), dialect=None)  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page") from error
    if not separator or moment is None:
        raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page")
    return moment, found
