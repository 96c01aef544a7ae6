"""Uploads: announced, received, turned into shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from cocu.catalog import events, models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, new_id, page_of, select_record, storable
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import DatasetState, ResumableState, UploadState
from cocu.errors import ConflictError, NotFoundError


@dataclass(frozen=True)
class UploadRecord:
    """One uploaded file. `ordinal` is its place in the dataset, assigned when it is complete.

    options: how its sender wants it read. reading: its format as detected by ingest.
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
    source_digest: str | None
    sha256: str | None
    accepted: int
    error: str | None
    created_at: datetime
    received_at: datetime | None
    finished_at: datetime | None


CLAIM_SECONDS = 60.0
"""Seconds that an upload counts as being received after its process last renewed the claim."""
ABANDONED = "the connection ended before the file had arrived; send it again"


@retry_on_outage
def register(
    catalog: Catalog, *, tenant: str, dataset_id: str, name: str, options: Mapping[str, Any] | None = None
) -> UploadRecord:
    """Return the upload of this name; create it where it does not exist, and restart it where it failed.

    options: how to read it. A file that is sent again is compared by its hash when it has arrived.
    Raises NotFoundError when the tenant has no such dataset, ConflictError when the upload has arrived with
    other options.
    """
    new_options = dict(options or {})
    with catalog.write() as connection:
        require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        upload = _find(connection, dataset_id=dataset_id, name=name)
        if upload is not None and upload.state == UploadState.FAILED:
            restarted = {
                "state": UploadState.RECEIVING,
                "options": new_options,
                "error": None,
                "ordinal": None,
                "sha256": None,
                "received": 0,
                "source": None,
                "source_digest": None,
            } | _claimed()
            connection.execute(update(models.Upload).where(models.Upload.id == upload.id).values(restarted))
        elif upload is not None and upload.options != new_options:
            _change_options(connection, upload, new_options)
        if upload is not None and upload.state == UploadState.RECEIVING:
            connection.execute(update(models.Upload).where(models.Upload.id == upload.id).values(_claimed()))
        elif upload is None:
            values = {
                "id": new_id(),
                "tenant": tenant,
                "dataset_id": dataset_id,
                "name": name,
                "options": new_options,
            }
            connection.execute(
                insert(models.Upload).values(**values, **_claimed(), state=UploadState.RECEIVING)
            )
        record = _find(connection, dataset_id=dataset_id, name=name)
        assert record is not None
        if upload is None or upload.state != record.state:
            events.add_uploads(connection, [record.id])
    return record


@retry_on_outage
def fail(catalog: Catalog, *, tenant: str, upload_id: str, error: str) -> None:
    """Mark an upload as failed: its file did not arrive completely. A received one stays as it is."""
    with catalog.write() as connection:
        owned = select(models.Upload.id).where(models.Upload.id == upload_id, models.Upload.tenant == tenant)
        if connection.execute(owned).first() is not None:
            mark_failed(connection, upload_id=upload_id, state=UploadState.RECEIVING, error=error)


def mark_failed(connection: Connection, *, upload_id: str, state: str, error: str) -> None:
    """Mark an upload as failed, unless it is not in this state any more."""
    failed = connection.execute(
        update(models.Upload)
        .where(models.Upload.id == upload_id, models.Upload.state == state)
        .values(state=UploadState.FAILED, error=storable(error), finished_at=database_seconds())
    )
    if failed.rowcount:
        events.add_uploads(connection, [upload_id])


@retry_on_outage
def claim(catalog: Catalog, *, upload_id: str, received: int) -> None:
    """Renew the claim of the process that receives an upload, and store how many bytes have arrived."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id, models.Upload.state == UploadState.RECEIVING)
            .values(_claimed() | {"received": received})
        )


@retry_on_outage
def fail_abandoned(catalog: Catalog, *, claimed: bool = False) -> list[str]:
    """Mark uploads as failed whose process does not receive them any more; return their ids.

    Not uploads in pieces, which expire on their own, nor those that are fetched, whose task has a lease. An
    upload that arrives after all still becomes received. claimed: also those with a valid claim; only where
    no process can be receiving anything.
    """
    resumed = select(models.ResumableUpload.id).where(
        models.ResumableUpload.upload_id == models.Upload.id,
        models.ResumableUpload.state == ResumableState.OPEN,
    )
    abandoned = [
        models.Upload.state == UploadState.RECEIVING,
        models.Upload.source.is_(None),
        ~resumed.exists(),
    ]
    if not claimed:
        now = database_seconds()
        abandoned.append(models.Upload.claimed_until.is_(None) | (models.Upload.claimed_until < now))
    with catalog.write() as connection:
        failed = connection.execute(
            update(models.Upload)
            .where(*abandoned)
            .values(state=UploadState.FAILED, error=ABANDONED, finished_at=database_seconds())
            .returning(models.Upload.id)
        )
        upload_ids = list(failed.scalars())
        events.add_uploads(connection, upload_ids)
        return upload_ids


@retry_on_outage
def awaited(catalog: Catalog, *, tenant: str, dataset_id: str, limit: int) -> list[str]:
    """The names of uploads that are still arriving, being fetched or being read."""
    statement = (
        select(models.Upload.name)
        .where(
            models.Upload.tenant == tenant,
            models.Upload.dataset_id == dataset_id,
            models.Upload.state.in_((UploadState.RECEIVING, UploadState.RECEIVED)),
        )
        .order_by(models.Upload.id)
        .limit(limit)
    )
    with catalog.read() as connection:
        return list(connection.execute(statement).scalars())


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, dataset_id: str, name: str) -> UploadRecord:
    """The upload of this name. Raises NotFoundError without one."""
    with catalog.read() as connection:
        record = _find(connection, dataset_id=dataset_id, name=name)
    if record is None or record.tenant != tenant:
        raise NotFoundError(f"no upload {name!r} in dataset {dataset_id!r}")
    return record


@retry_on_outage
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


@retry_on_outage
def names(catalog: Catalog, *, tenant: str, dataset_id: str) -> dict[str, str]:
    """The names of a dataset's uploads by their ids."""
    statement = select(models.Upload.id, models.Upload.name).where(
        models.Upload.tenant == tenant, models.Upload.dataset_id == dataset_id
    )
    with catalog.read() as connection:
        return {row.id: row.name for row in connection.execute(statement)}


@retry_on_outage
def of_task(catalog: Catalog, *, upload_id: str) -> UploadRecord:
    """The upload that an ingest task is about. Raises NotFoundError when its dataset was deleted."""
    with catalog.read() as connection:
        statement = select_record(UploadRecord, models.Upload).where(models.Upload.id == upload_id)
        record = fetch_one(connection, UploadRecord, statement)
    if record is None:
        raise NotFoundError(f"no upload {upload_id!r}")
    return record


@retry_on_outage
def discardable(catalog: Catalog, *, dataset_id: str) -> list[UploadRecord]:
    """Ingested uploads whose file is not needed again: no earlier upload can still take their keys."""
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


@retry_on_outage
def forget_object(catalog: Catalog, *, upload_id: str) -> None:
    """Store that the file of an upload was deleted."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload).where(models.Upload.id == upload_id).values(object_path=None)
        )


def _claimed() -> dict[str, Any]:
    return {"claimed_until": database_seconds() + CLAIM_SECONDS}


def _find(connection: Connection, *, dataset_id: str, name: str) -> UploadRecord | None:
    where = (models.Upload.dataset_id == dataset_id, models.Upload.name == name)
    return fetch_one(connection, UploadRecord, select_record(UploadRecord, models.Upload).where(*where))


def next_ordinal(connection: Connection, dataset_id: str) -> int:
    """The ordinal of the next upload that arrives; the caller holds the lock of the dataset."""
    last = select(func.max(models.Upload.ordinal)).where(models.Upload.dataset_id == dataset_id)
    ordinal = connection.execute(last).scalar_one()
    return 0 if ordinal is None else ordinal + 1


def _change_options(connection: Connection, upload: UploadRecord, options: dict[str, Any]) -> None:
    if upload.state != UploadState.RECEIVING:
        raise ConflictError(
            f"upload {upload.name!r} was read with other options; send the file under another name"
        )
    connection.execute(update(models.Upload).where(models.Upload.id == upload.id).values(options=options))


def require_dataset(connection: Connection, *, tenant: str, dataset_id: str) -> None:
    """Lock the dataset, as `datasets.lock` does, so that two uploads of one name become one upload.

    Raises NotFoundError when the tenant has no such dataset.
    """
    statement = select(models.Dataset.id).where(
        models.Dataset.id == dataset_id,
        models.Dataset.tenant == tenant,
        models.Dataset.state == DatasetState.ACTIVE,
    )
    if connection.execute(statement.with_for_update(key_share=True)).scalar_one_or_none() is None:
        raise NotFoundError(f"no dataset {dataset_id!r}")
