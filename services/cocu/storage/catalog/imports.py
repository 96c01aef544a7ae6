"""Imports: uploads that the platform fetches itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cocu.errors import ConflictError, NotFoundError
from cocu.storage.catalog import chunks, datasets, models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_all, fetch_one, new_id, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import DatasetState, Stage, UploadState
from cocu.storage.catalog.uploads import UploadRecord


@dataclass(frozen=True)
class Source:
    """Where a file is fetched from, and what the upload it becomes is called."""

    name: str
    url: str


@repeated
def announce(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    sources: Sequence[Source],
    options: Mapping[str, Any],
) -> tuple[list[UploadRecord], list[chunks.Planned]]:
    """Uploads that are to be fetched, and the work of doing so, to enqueue: all of them or none.

    One of the same name and source is the one there is; a failed one starts over. Raises NotFoundError when
    the tenant has no such dataset, ConflictError when a name is that of something else.
    """
    with catalog.write() as connection:
        if datasets.lock(connection, dataset_id=dataset_id) != DatasetState.ACTIVE or not _owns(
            connection, tenant, dataset_id
        ):
            raise NotFoundError(f"no dataset {dataset_id!r}")
        planned: list[chunks.Planned] = []
        ids = []
        for source in sources:
            upload_id, new = _upload(connection, tenant, dataset_id, source, dict(options))
            ids.append(upload_id)
            if new:
                planned += chunks.plan_again(
                    connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.FETCH, subject=upload_id
                )
        found = fetch_all(
            connection,
            UploadRecord,
            select_record(UploadRecord, models.Upload)
            .where(models.Upload.id.in_(ids))
            .order_by(models.Upload.id),
        )
    by_id = {record.id: record for record in found}
    return [by_id[upload_id] for upload_id in ids], planned


@repeated
def note_received(catalog: Catalog, *, upload_id: str, received: int) -> None:
    """Says how many bytes of a file that is being fetched have come."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id, models.Upload.state == UploadState.RECEIVING)
            .values(received=received)
        )


def _owns(connection: Connection, tenant: str, dataset_id: str) -> bool:
    statement = select(models.Dataset.tenant).where(models.Dataset.id == dataset_id)
    return connection.execute(statement).scalar_one_or_none() == tenant


def _upload(
    connection: Connection, tenant: str, dataset_id: str, source: Source, options: dict[str, Any]
) -> tuple[str, bool]:
    """The id of the upload, and whether it is to be fetched anew."""
    where = (models.Upload.dataset_id == dataset_id, models.Upload.name == source.name)
    found = fetch_one(connection, UploadRecord, select_record(UploadRecord, models.Upload).where(*where))
    values: dict[str, Any] = {"state": UploadState.RECEIVING, "options": options, "source": source.url}
    if found is None:
        upload_id = new_id()
        names = {"id": upload_id, "tenant": tenant, "dataset_id": dataset_id, "name": source.name}
        connection.execute(insert(models.Upload).values(names | values))
        return upload_id, True
    if found.state == UploadState.FAILED:
        values |= {"error": None, "ordinal": None, "sha256": None, "received": 0, "finished_at": None}
        connection.execute(update(models.Upload).where(models.Upload.id == found.id).values(values))
        return found.id, True
    if found.source == source.url and found.options == options:
        return found.id, False
    raise ConflictError(
        f"there is an upload named {source.name!r} already, of another source or to be read otherwise; "
        "give this one a name of its own"
    )
