"""Shards and samples: where each key lies, and which upload owns it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from cocu.errors import NotFoundError
from cocu.storage.catalog import chunks, datasets, models, rejections
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import DatasetState, Stage, UploadState

KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class SampleRecord:
    """Where a sample lies: the shard and its row there; the shard's sample table has the rest."""

    dataset_id: str
    key: str
    shard_id: str
    row: int


@dataclass(frozen=True)
class ShardRecord:
    """At most 10,000 samples in a tar of our own; sha256 is that of the tar and its embeddings."""

    dataset_id: str
    id: str
    upload_id: str
    upload_ordinal: int
    number: int
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class NewShard:
    """A shard that ingest has written: its keys in row order."""

    id: str
    keys: tuple[str, ...]
    bytes: int
    sha256: str


_FIND = select_record(SampleRecord, models.Sample).where(
    models.Sample.tenant == bindparam("tenant"),
    models.Sample.dataset_id == bindparam("dataset_id"),
    models.Sample.key == bindparam("key"),
)


@repeated
def find(catalog: Catalog, *, tenant: str, dataset_id: str, key: str) -> SampleRecord:
    """Where the sample of this key lies. Raises NotFoundError without one."""
    where = {"tenant": tenant, "dataset_id": dataset_id, "key": key}
    with catalog.read() as connection:
        record = fetch_one(connection, SampleRecord, _FIND, where)
    if record is None:
        raise NotFoundError(f"no sample {key!r} in dataset {dataset_id!r}")
    return record


@repeated
def find_many(
    catalog: Catalog, *, tenant: str, dataset_id: str, keys: Sequence[str]
) -> dict[str, SampleRecord]:
    """Where those of these keys lie that there are, by key."""
    found: dict[str, SampleRecord] = {}
    remaining = iter(keys)
    with catalog.read() as connection:
        while some := list(islice(remaining, KEYS_PER_QUERY)):
            statement = select_record(SampleRecord, models.Sample).where(
                models.Sample.tenant == tenant,
                models.Sample.dataset_id == dataset_id,
                models.Sample.key.in_(some),
            )
            found |= {record.key: record for record in fetch_all(connection, SampleRecord, statement)}
    return found


@repeated
def list_page(
    catalog: Catalog, *, tenant: str, dataset_id: str, limit: int, after: str | None = None
) -> Page[SampleRecord]:
    """The samples of a dataset by key; `after` is a key."""
    statement = (
        select_record(SampleRecord, models.Sample)
        .where(models.Sample.tenant == tenant, models.Sample.dataset_id == dataset_id)
        .order_by(models.Sample.key)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Sample.key > after)
    with catalog.read() as connection:
        records = fetch_all(connection, SampleRecord, statement)
    return page_of(records, limit, [record.key for record in records])


@repeated
def shard(catalog: Catalog, *, dataset_id: str, shard_id: str) -> ShardRecord:
    """A shard. Raises NotFoundError without it."""
    statement = select_record(ShardRecord, models.Shard).where(
        models.Shard.dataset_id == dataset_id, models.Shard.id == shard_id
    )
    with catalog.read() as connection:
        record = fetch_one(connection, ShardRecord, statement)
    if record is None:
        raise NotFoundError(f"no shard {shard_id!r} in dataset {dataset_id!r}")
    return record


@repeated
def shards(catalog: Catalog, *, tenant: str, dataset_id: str) -> list[ShardRecord]:
    """Every shard of a dataset, in the order that numbers its samples."""
    statement = (
        select_record(ShardRecord, models.Shard)
        .where(models.Shard.tenant == tenant, models.Shard.dataset_id == dataset_id)
        .order_by(models.Shard.upload_ordinal, models.Shard.number)
    )
    with catalog.read() as connection:
        return fetch_all(connection, ShardRecord, statement)


@repeated
def owned_before(catalog: Catalog, *, dataset_id: str, ordinal: int, keys: Sequence[str]) -> set[str]:
    """Those of the keys that an upload before `ordinal` has."""
    with catalog.read() as connection:
        owners = _owners(connection, dataset_id=dataset_id, keys=keys)
        return {key for key, owner in owners if owner < ordinal}


@repeated
def ingested(
    catalog: Catalog,
    *,
    chunk_id: str,
    owner: str,
    upload_id: str,
    shards: Sequence[NewShard],
    rejected: Sequence[rejections.NewRejection],
    reading: Mapping[str, Any] | None = None,
) -> list[chunks.Planned]:
    """The upload has become these shards; returns what to enqueue. reading: what its file turned out to be.

    The earlier upload owns a key, whichever was ingested first. So when a later upload has one of these keys,
    it is ingested again (its chunk is returned); when an earlier one has got a key meanwhile, this one is.
    Does nothing when the lease was lost or the dataset is being deleted.
    """
    with catalog.write() as connection:
        found = select(models.Upload.__table__).where(models.Upload.id == upload_id)
        upload = connection.execute(found).one_or_none()
        if upload is None or datasets.lock(connection, dataset_id=upload.dataset_id) != DatasetState.ACTIVE:
            return []
        if not chunks.holds(connection, chunk_id=chunk_id, owner=owner):
            return []
        dataset_id, ordinal = upload.dataset_id, upload.ordinal
        keys = [key for new in shards for key in new.keys]
        owners = {other for _, other in _owners(connection, dataset_id=dataset_id, keys=keys)} - {ordinal}
        if any(other < ordinal for other in owners):
            chunks.restart(connection, chunk_id=chunk_id)
            return [(chunk_id, Stage.INGEST)]
        again = [_ingest_again(connection, dataset_id=dataset_id, ordinal=other) for other in sorted(owners)]
        _forget(connection, dataset_id=dataset_id, upload_id=upload_id)
        _remember(connection, upload=upload, shards=shards)
        rejections.replace(
            connection,
            tenant=upload.tenant,
            dataset_id=dataset_id,
            upload_id=upload_id,
            scope="",
            new=rejected,
        )
        connection.execute(delete(models.Rejection).where(models.Rejection.retried_by == upload_id))
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id)
            .values(
                state=UploadState.INGESTED,
                accepted=len(keys),
                error=None,
                reading=None if reading is None else dict(reading),
                finished_at=database_seconds(),
            )
        )
        chunks.close(connection, chunk_id=chunk_id)
        return again


def _owners(connection: Connection, *, dataset_id: str, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    remaining = iter(keys)
    while some := list(islice(remaining, KEYS_PER_QUERY)):
        statement = select(models.Sample.key, models.Sample.upload_ordinal).where(
            models.Sample.dataset_id == dataset_id, models.Sample.key.in_(some)
        )
        yield from ((row.key, row.upload_ordinal) for row in connection.execute(statement))


def _ingest_again(connection: Connection, *, dataset_id: str, ordinal: int) -> chunks.Planned:
    where = (models.Upload.dataset_id == dataset_id, models.Upload.ordinal == ordinal)
    upload_id = connection.execute(select(models.Upload.id).where(*where)).scalar_one()
    _forget(connection, dataset_id=dataset_id, upload_id=upload_id)
    connection.execute(update(models.Upload).where(*where).values(state=UploadState.RECEIVED, accepted=0))
    chunk_id = chunks.identity(dataset_id=dataset_id, scope="", stage=Stage.INGEST, subject=upload_id)
    chunks.restart(connection, chunk_id=chunk_id)
    return chunk_id, Stage.INGEST


def _forget(connection: Connection, *, dataset_id: str, upload_id: str) -> None:
    of_upload = select(models.Shard.id).where(models.Shard.upload_id == upload_id)
    connection.execute(
        delete(models.Sample).where(
            models.Sample.dataset_id == dataset_id, models.Sample.shard_id.in_(of_upload)
        )
    )
    connection.execute(delete(models.Shard).where(models.Shard.upload_id == upload_id))


def _remember(connection: Connection, *, upload: Row[Any], shards: Sequence[NewShard]) -> None:
    shared = {"tenant": upload.tenant, "dataset_id": upload.dataset_id, "upload_ordinal": upload.ordinal}
    for number, new in enumerate(shards):
        values = {
            "id": new.id,
            "number": number,
            "samples": len(new.keys),
            "bytes": new.bytes,
            "sha256": new.sha256,
        }
        connection.execute(insert(models.Shard).values(shared | values | {"upload_id": upload.id}))
        rows = [shared | {"key": key, "shard_id": new.id, "row": row} for row, key in enumerate(new.keys)]
        if rows:
            connection.execute(insert(models.Sample), rows)
