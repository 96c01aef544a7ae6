"""Uploads: announced, received, turned into shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from cocu.errors import ConflictError, NotFoundError
from cocu.storage.catalog import chunks, datasets, models, quotas
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page, fetch_all, fetch_one, new_id, page_of, select_record, storable
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import DatasetState, Stage, UploadState


@dataclass(frozen=True)
class UploadRecord:
    """One file sent in. `ordinal` is its place in the dataset, given when it is complete.

    options: how its sender wants it read. reading: what it turned out to be, once it is ingested.
    """

    id: str
    tenant: str
    dataset_id: str
    name: str
    options: dict[str, Any]
    reading: dict[str, Any] | None
    state: str
    ordinal: int | None
    object_path: str | None
    bytes: int | None
    received: int
    source: str | None
    sha256: str | None
    accepted: int
    error: str | None
    created_at: datetime
    received_at: datetime | None
    finished_at: datetime | None


@repeated
def register(
    catalog: Catalog, *, tenant: str, dataset_id: str, name: str, options: Mapping[str, Any] | None = None
) -> UploadRecord:
    """The upload of this name: a new one, or the one there is (sent again: compare its hash in `receive`).

    options: how to read it. A failed upload of this name starts over. Raises NotFoundError when the tenant
    has no such dataset, ConflictError when the upload has arrived to be read with other options.
    """
    wanted = dict(options or {})
    with catalog.write() as connection:
        _require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        found = _find(connection, dataset_id=dataset_id, name=name)
        if found is not None and found.state == UploadState.FAILED:
            again = {
                "state": UploadState.RECEIVING,
                "options": wanted,
                "error": None,
                "ordinal": None,
                "sha256": None,
                "received": 0,
                "source": None,
            }
            connection.execute(update(models.Upload).where(models.Upload.id == found.id).values(again))
        elif found is not None and found.options != wanted:
            _change_options(connection, found, wanted)
        elif found is None:
            values = {
                "id": new_id(),
                "tenant": tenant,
                "dataset_id": dataset_id,
                "name": name,
                "options": wanted,
            }
            connection.execute(insert(models.Upload).values(**values, state=UploadState.RECEIVING))
        record = _find(connection, dataset_id=dataset_id, name=name)
    assert record is not None
    return record


@repeated
def receive(
    catalog: Catalog,
    *,
    tenant: str,
    upload_id: str,
    object_path: str,
    size: int,
    sha256: str,
    max_tenant_bytes: int | None = None,
) -> tuple[UploadRecord, list[chunks.Planned]]:
    """The whole file lies at `object_path`: gives the upload its ordinal and plans its ingest.

    Returns the upload and what to enqueue; nothing when the same content had been received before, and
    then the new object is the caller's to delete. Raises ConflictError when other content was received under
    its name, LimitExceededError when the tenant would store more than it may.
    """
    with catalog.write() as connection:
        statement = select_record(UploadRecord, models.Upload)
        where = (models.Upload.id == upload_id, models.Upload.tenant == tenant)
        record = fetch_one(connection, UploadRecord, statement.where(*where))
        if record is None:
            raise NotFoundError(f"no upload {upload_id!r}")
        if datasets.lock(connection, dataset_id=record.dataset_id) != DatasetState.ACTIVE:
            raise NotFoundError(f"no dataset {record.dataset_id!r}")
        if record.state in (UploadState.RECEIVED, UploadState.INGESTED):
            if record.sha256 == sha256:
                return record, []
            raise ConflictError(
                f"upload {record.name!r} has other content already; send this under another name"
            )
        quotas.require_room(connection, tenant=tenant, size=size, limit=max_tenant_bytes)
        values = {
            "state": UploadState.RECEIVED,
            "ordinal": _next_ordinal(connection, record.dataset_id),
            "object_path": object_path,
            "bytes": size,
            "received": size,
            "sha256": sha256,
            "error": None,
        }
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id)
            .values(values | {"received_at": database_seconds()})
        )
        planned = chunks.plan(
            connection, tenant=tenant, dataset_id=record.dataset_id, stage=Stage.INGEST, subject=upload_id
        )
        received = fetch_one(connection, UploadRecord, statement.where(*where))
    assert received is not None
    return received, planned


@repeated
def fail(catalog: Catalog, *, tenant: str, upload_id: str, error: str) -> None:
    """The file did not arrive whole. Does nothing to an upload that was received before."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload)
            .where(
                models.Upload.id == upload_id,
                models.Upload.tenant == tenant,
                models.Upload.state == UploadState.RECEIVING,
            )
            .values(state=UploadState.FAILED, error=storable(error), finished_at=database_seconds())
        )


@repeated
def retry_failed(
    catalog: Catalog, *, tenant: str, dataset_id: str
) -> tuple[list[UploadRecord], list[chunks.Planned]]:
    """Lets the failed uploads be read again whose files arrived, or fetched again those with a source.

    Returns these and what to enqueue. Each gets a new ordinal, as if it had been sent again: keys that others
    have by now stay theirs. Raises NotFoundError when the tenant has no such dataset.
    """
    with catalog.write() as connection:
        _require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        failed = fetch_all(
            connection,
            UploadRecord,
            select_record(UploadRecord, models.Upload)
            .where(models.Upload.dataset_id == dataset_id, models.Upload.state == UploadState.FAILED)
            .order_by(models.Upload.ordinal, models.Upload.id),
        )
        retried = [record for record in failed if _arrived(record) or record.source is not None]
        planned = [each for record in retried for each in _retry(connection, record)]
    return retried, planned


@repeated
def get(catalog: Catalog, *, tenant: str, dataset_id: str, name: str) -> UploadRecord:
    """The upload of this name. Raises NotFoundError without one."""
    with catalog.read() as connection:
        record = _find(connection, dataset_id=dataset_id, name=name)
    if record is None or record.tenant != tenant:
        raise NotFoundError(f"no upload {name!r} in dataset {dataset_id!r}")
    return record


@repeated
def list_page(
    catalog: Catalog, *, tenant: str, dataset_id: str, limit: int, after: str | None = None
) -> Page[UploadRecord]:
    """The uploads of a dataset in the order they were announced."""
    statement = (
        select_record(UploadRecord, models.Upload)
        .where(models.Upload.tenant == tenant, models.Upload.dataset_id == dataset_id)
        .order_by(models.Upload.id)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Upload.id > after)
    with catalog.read() as connection:
        records = fetch_all(connection, UploadRecord, statement)
    return page_of(records, limit, [record.id for record in records])


@repeated
def names(catalog: Catalog, *, tenant: str, dataset_id: str) -> dict[str, str]:
    """The names of a dataset's uploads by their ids."""
    statement = select(models.Upload.id, models.Upload.name).where(
        models.Upload.tenant == tenant, models.Upload.dataset_id == dataset_id
    )
    with catalog.read() as connection:
        return {row.id: row.name for row in connection.execute(statement)}


@repeated
def of_chunk(catalog: Catalog, *, upload_id: str) -> UploadRecord:
    """The upload that an ingest chunk is about. Raises NotFoundError when its dataset was deleted."""
    with catalog.read() as connection:
        statement = select_record(UploadRecord, models.Upload).where(models.Upload.id == upload_id)
        record = fetch_one(connection, UploadRecord, statement)
    if record is None:
        raise NotFoundError(f"no upload {upload_id!r}")
    return record


@repeated
def discardable(catalog: Catalog, *, dataset_id: str) -> list[UploadRecord]:
    """Ingested uploads whose file nobody needs again: no earlier upload can still take a key of theirs."""
    earlier = (
        select(func.min(models.Upload.ordinal))
        .where(models.Upload.dataset_id == dataset_id, models.Upload.state == UploadState.RECEIVED)
        .scalar_subquery()
    )
    statement = select_record(UploadRecord, models.Upload).where(
        models.Upload.dataset_id == dataset_id,
        models.Upload.state == UploadState.INGESTED,
        models.Upload.object_path.is_not(None),
        (earlier.is_(None)) | (models.Upload.ordinal < earlier),
    )
    with catalog.read() as connection:
        return fetch_all(connection, UploadRecord, statement)


@repeated
def forget_object(catalog: Catalog, *, upload_id: str) -> None:
    """Its file was deleted."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload).where(models.Upload.id == upload_id).values(object_path=None)
        )


def _find(connection: Connection, *, dataset_id: str, name: str) -> UploadRecord | None:
    where = (models.Upload.dataset_id == dataset_id, models.Upload.name == name)
    return fetch_one(connection, UploadRecord, select_record(UploadRecord, models.Upload).where(*where))


def _arrived(record: UploadRecord) -> bool:
    return record.sha256 is not None and record.object_path is not None


def _retry(connection: Connection, record: UploadRecord) -> list[chunks.Planned]:
    again: dict[str, Any] = {"error": None, "finished_at": None}
    if _arrived(record):
        stage = Stage.INGEST
        ordinal = _next_ordinal(connection, record.dataset_id)
        again |= {"state": UploadState.RECEIVED, "ordinal": ordinal}
    else:
        stage = Stage.FETCH
        again |= {"state": UploadState.RECEIVING, "ordinal": None, "sha256": None, "received": 0}
    connection.execute(update(models.Upload).where(models.Upload.id == record.id).values(again))
    return chunks.plan_again(
        connection, tenant=record.tenant, dataset_id=record.dataset_id, stage=stage, subject=record.id
    )


def _next_ordinal(connection: Connection, dataset_id: str) -> int:
    last = select(func.max(models.Upload.ordinal)).where(models.Upload.dataset_id == dataset_id)
    ordinal = connection.execute(last).scalar_one()
    return 0 if ordinal is None else ordinal + 1


def _change_options(connection: Connection, found: UploadRecord, options: dict[str, Any]) -> None:
    if found.state != UploadState.RECEIVING:
        raise ConflictError(
            f"upload {found.name!r} was read with other options; send the file under another name"
        )
    connection.execute(update(models.Upload).where(models.Upload.id == found.id).values(options=options))


def _require_dataset(connection: Connection, *, tenant: str, dataset_id: str) -> None:
    """Locks the dataset, as `datasets.lock` does: two uploads of one name are one upload."""
    statement = select(models.Dataset.id).where(
        models.Dataset.id == dataset_id,
        models.Dataset.tenant == tenant,
        models.Dataset.state == DatasetState.ACTIVE,
    )
    if connection.execute(statement.with_for_update(key_share=True)).scalar_one_or_none() is None:
        raise NotFoundError(f"no dataset {dataset_id!r}")
