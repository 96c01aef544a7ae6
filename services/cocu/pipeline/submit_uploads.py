"""The commands that give an upload its file and plan its ingest: received, imported or retried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cocu.catalog import datasets, events, failed_rows, models, quotas, sources, tasks, uploads
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_all, fetch_one, new_id, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import DatasetState, Stage, UploadState
from cocu.catalog.tasks import TaskRef
from cocu.catalog.uploads import UploadRecord
from cocu.errors import CocuError, ConflictError, NotFoundError
from cocu.platform import Platform
from cocu.storage.objects import StoredObject


@dataclass(frozen=True)
class RegisteredUpload:
    """An upload whose file has arrived; `new` unless the same content had arrived before."""

    upload: UploadRecord
    new: bool


def register_upload(
    platform: Platform,
    *,
    tenant: str,
    upload_id: str,
    stored: StoredObject,
    max_tenant_bytes: int | None = None,
) -> RegisteredUpload:
    """Make a stored object the file of an upload and plan its ingest; delete the object if it is not needed.

    Raises NotFoundError, ConflictError if an upload of this name has other content, LimitExceededError.
    """
    try:
        upload, task_refs = receive_upload(
            platform.catalog,
            tenant=tenant,
            upload_id=upload_id,
            object_path=stored.path,
            size=stored.size,
            sha256=stored.sha256,
            max_tenant_bytes=max_tenant_bytes,
        )
    except CocuError:
        platform.objects.delete(stored.path)
        raise
    if not task_refs:
        if upload.object_path != stored.path:  # equal if the same object is registered twice
            platform.objects.delete(stored.path)
        return RegisteredUpload(upload=upload, new=False)
    platform.enqueue(task_refs)
    return RegisteredUpload(upload=upload, new=True)


@retry_on_outage
def receive_upload(
    catalog: Catalog,
    *,
    tenant: str,
    upload_id: str,
    object_path: str,
    size: int,
    sha256: str,
    max_tenant_bytes: int | None = None,
) -> tuple[UploadRecord, list[TaskRef]]:
    """Store that the whole file of an upload is at `object_path`, give it its ordinal and plan its ingest.

    Returns the upload and the tasks to enqueue. There are none if the same content had been received before;
    the caller then deletes the new object. Raises NotFoundError, ConflictError if other content was received
    under this name, LimitExceededError if the tenant would store more than it may.
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
            "ordinal": uploads.next_ordinal(connection, record.dataset_id),
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
        sources.forget(connection, upload_id=upload_id)
        failed_rows.forget_links(connection, upload_id=upload_id)
        task_refs = tasks.enqueue(
            connection, tenant=tenant, dataset_id=record.dataset_id, stage=Stage.INGEST, target=upload_id
        )
        received = fetch_one(connection, UploadRecord, statement.where(*where))
        events.add_uploads(connection, [upload_id])
    assert received is not None
    return received, task_refs


@dataclass(frozen=True)
class Source:
    """The URL of a file and the name of the upload that it becomes."""

    name: str
    url: str


@retry_on_outage
def import_files(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    files: Sequence[Source],
    options: Mapping[str, Any],
) -> tuple[list[UploadRecord], list[TaskRef]]:
    """Create the uploads of files to fetch, all or none; return them and the tasks to enqueue.

    An upload of the same name and source is returned as it is, or started again if it failed. Raises
    NotFoundError if the tenant has no such dataset, ConflictError if a name belongs to another source.
    """
    with catalog.write() as connection:
        if datasets.lock(connection, dataset_id=dataset_id) != DatasetState.ACTIVE or not _owns(
            connection, tenant, dataset_id
        ):
            raise NotFoundError(f"no dataset {dataset_id!r}")
        task_refs: list[TaskRef] = []
        ids = []
        for source in files:
            upload_id, is_new = _create_or_find(connection, tenant, dataset_id, source, dict(options))
            ids.append(upload_id)
            if is_new:
                events.add_uploads(connection, [upload_id])
                task_refs += tasks.enqueue_again(
                    connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.FETCH, target=upload_id
                )
        records = fetch_all(
            connection,
            UploadRecord,
            select_record(UploadRecord, models.Upload)
            .where(models.Upload.id.in_(ids))
            .order_by(models.Upload.id),
        )
    by_id = {record.id: record for record in records}
    return [by_id[upload_id] for upload_id in ids], task_refs


def _owns(connection: Connection, tenant: str, dataset_id: str) -> bool:
    statement = select(models.Dataset.tenant).where(models.Dataset.id == dataset_id)
    return connection.execute(statement).scalar_one_or_none() == tenant


def _create_or_find(
    connection: Connection, tenant: str, dataset_id: str, source: Source, options: dict[str, Any]
) -> tuple[str, bool]:
    """Return the id of the upload, and whether it is to be fetched."""
    where = (models.Upload.dataset_id == dataset_id, models.Upload.name == source.name)
    upload = fetch_one(connection, UploadRecord, select_record(UploadRecord, models.Upload).where(*where))
    values: dict[str, Any] = {"state": UploadState.RECEIVING, "options": options}
    values |= {"source": source.url, "source_digest": None}
    if upload is None:
        upload_id = new_id()
        names = {"id": upload_id, "tenant": tenant, "dataset_id": dataset_id, "name": source.name}
        connection.execute(insert(models.Upload).values(names | values))
        return upload_id, True
    if upload.state == UploadState.FAILED:
        values |= {"error": None, "ordinal": None, "sha256": None, "received": 0, "finished_at": None}
        connection.execute(update(models.Upload).where(models.Upload.id == upload.id).values(values))
        return upload.id, True
    is_same = source.url == upload.source if upload.source_digest is None else _has_source(upload, source.url)
    if is_same and upload.options == options:
        return upload.id, False
    raise ConflictError(
        f"there is already an upload named {source.name!r} with another source or other options; "
        "give this one another name"
    )


def _has_source(upload: UploadRecord, url: str) -> bool:
    return sources.digest(url) == upload.source_digest


@retry_on_outage
def retry_uploads(
    catalog: Catalog, *, tenant: str, dataset_id: str
) -> tuple[list[UploadRecord], list[TaskRef]]:
    """Retry failed uploads: ingest those whose file arrived, fetch those with a source.

    A source that was only stored as a digest cannot be fetched again. Returns the retried uploads and the
    tasks to enqueue. Each gets a new ordinal, as if it was uploaded again, so it takes no key from uploads
    that were received before. Raises NotFoundError if the tenant has no such dataset.
    """
    with catalog.write() as connection:
        uploads.require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        failed = fetch_all(
            connection,
            UploadRecord,
            select_record(UploadRecord, models.Upload)
            .where(models.Upload.dataset_id == dataset_id, models.Upload.state == UploadState.FAILED)
            .order_by(models.Upload.ordinal, models.Upload.id),
        )
        retried = [record for record in failed if _arrived(record) or _is_fetchable(record)]
        task_refs = [task for record in retried for task in _retry(connection, record)]
        events.add_uploads(connection, [record.id for record in retried])
    return retried, task_refs


def _retry(connection: Connection, record: UploadRecord) -> list[TaskRef]:
    values: dict[str, Any] = {"error": None, "finished_at": None}
    if _arrived(record):
        stage = Stage.INGEST
        ordinal = uploads.next_ordinal(connection, record.dataset_id)
        values |= {"state": UploadState.RECEIVED, "ordinal": ordinal}
    else:
        stage = Stage.FETCH
        values |= {"state": UploadState.RECEIVING, "ordinal": None, "sha256": None, "received": 0}
    connection.execute(update(models.Upload).where(models.Upload.id == record.id).values(values))
    return tasks.enqueue_again(
        connection, tenant=record.tenant, dataset_id=record.dataset_id, stage=stage, target=record.id
    )


def _arrived(record: UploadRecord) -> bool:
    return record.sha256 is not None and record.object_path is not None


def _is_fetchable(record: UploadRecord) -> bool:
    return record.source is not None and record.source_digest is None
