"""Resumable uploads: how much of each has arrived, and until when the rest is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, insert, literal, or_, select, update

from cocu.errors import ConflictError, NotFoundError
from cocu.storage.catalog import models, quotas
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_one, new_id, storable
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import ResumableState, UploadState

REMEMBERED_SECONDS = 7 * 24 * 3600.0
"""How long an expired upload is still known to have been one."""


@dataclass(frozen=True)
class ResumableRecord:
    """A file on its way in pieces: `offset` of its `length` bytes are safely stored.

    `expired`: whether its time was over when it was read.
    """

    id: str
    tenant: str
    dataset_id: str
    upload_id: str
    state: str
    length: int
    offset: int
    sha256: str | None
    description: str
    created_at: datetime
    expires_at: datetime
    expired: bool

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived."""
        return self.offset == self.length


@repeated
def create(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    upload_id: str,
    length: int,
    sha256: str | None,
    description: str,
    seconds: float,
    max_tenant_bytes: int | None,
) -> ResumableRecord:
    """A new one, of which nothing has arrived. Raises LimitExceededError without room for it."""
    resumable_id = new_id()
    values = {
        "id": resumable_id,
        "tenant": tenant,
        "dataset_id": dataset_id,
        "upload_id": upload_id,
        "state": ResumableState.OPEN,
        "sha256": sha256,
        "description": storable(description),
    }
    with catalog.write() as connection:
        quotas.require_room(connection, tenant=tenant, size=length, limit=max_tenant_bytes)
        now = database_seconds()
        connection.execute(
            insert(models.ResumableUpload).values(**values, length=length, expires_at=now + seconds)
        )
        record = fetch_one(
            connection, ResumableRecord, _select().where(_is(tenant, dataset_id, resumable_id))
        )
    assert record is not None
    return record


@repeated
def get(catalog: Catalog, *, tenant: str, dataset_id: str, resumable_id: str) -> ResumableRecord:
    """The resumable upload of this id. Raises NotFoundError."""
    with catalog.read() as connection:
        record = fetch_one(
            connection, ResumableRecord, _select().where(_is(tenant, dataset_id, resumable_id))
        )
    if record is None:
        raise NotFoundError(
            f"no resumable upload {resumable_id!r} in dataset {dataset_id!r}; create a new one"
        )
    return record


@repeated
def advance(catalog: Catalog, record: ResumableRecord, *, offset: int, seconds: float) -> ResumableRecord:
    """Notes that `offset` bytes are safely stored, and waits for the rest anew.

    Raises ConflictError when it is no longer where the record says it is.
    """
    with catalog.write() as connection:
        noted = connection.execute(
            update(models.ResumableUpload)
            .where(
                models.ResumableUpload.id == record.id,
                models.ResumableUpload.state == ResumableState.OPEN,
                models.ResumableUpload.offset == record.offset,
            )
            .values(offset=offset, expires_at=database_seconds() + seconds)
        )
        if noted.rowcount == 0:
            raise ConflictError("the upload was ended or moved on meanwhile; ask for its offset again")
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == record.upload_id, models.Upload.state == UploadState.RECEIVING)
            .values(received=offset)
        )
        found = fetch_one(
            connection, ResumableRecord, _select().where(models.ResumableUpload.id == record.id)
        )
    assert found is not None
    return found


@repeated
def complete(catalog: Catalog, *, resumable_id: str) -> None:
    """Its file is registered; it stays known until it expires."""
    with catalog.write() as connection:
        connection.execute(
            update(models.ResumableUpload)
            .where(models.ResumableUpload.id == resumable_id)
            .values(state=ResumableState.COMPLETED)
        )


@repeated
def remove(catalog: Catalog, *, resumable_id: str) -> None:
    """It never was."""
    with catalog.write() as connection:
        connection.execute(delete(models.ResumableUpload).where(models.ResumableUpload.id == resumable_id))


@repeated
def of_dataset(catalog: Catalog, *, dataset_id: str) -> list[str]:
    """The ids of all that a dataset has."""
    with catalog.read() as connection:
        statement = select(models.ResumableUpload.id).where(models.ResumableUpload.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@repeated
def expire(catalog: Catalog) -> list[str]:
    """Ends those whose time is over, forgets those that ended long ago; the ids whose files are to go."""
    now = database_seconds()
    over = models.ResumableUpload.expires_at < now
    with catalog.write() as connection:
        ended = connection.execute(
            select(models.ResumableUpload.id, models.ResumableUpload.upload_id)
            .where(over, models.ResumableUpload.state == ResumableState.OPEN)
            .limit(1_000)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()
        for row in ended:
            connection.execute(
                update(models.ResumableUpload)
                .where(models.ResumableUpload.id == row.id)
                .values(state=ResumableState.EXPIRED)
            )
            connection.execute(
                update(models.Upload)
                .where(
                    models.Upload.id == row.upload_id,
                    models.Upload.state == UploadState.RECEIVING,
                    ~_awaited(row.upload_id),
                )
                .values(state=UploadState.FAILED, error="the rest did not arrive in time", finished_at=now)
            )
        long_over = models.ResumableUpload.expires_at < now - REMEMBERED_SECONDS
        connection.execute(
            delete(models.ResumableUpload).where(
                or_(long_over, over & (models.ResumableUpload.state == ResumableState.COMPLETED))
            )
        )
    return [row.id for row in ended]


def _awaited(upload_id: str) -> ColumnElement[bool]:
    """Whether another attempt at the upload is still under way."""
    return (
        select(models.ResumableUpload.id)
        .where(
            models.ResumableUpload.upload_id == upload_id,
            models.ResumableUpload.state == ResumableState.OPEN,
            models.ResumableUpload.expires_at >= database_seconds(),
        )
        .exists()
    )


def _select() -> Select[tuple[object, ...]]:
    fields = [name for name in ResumableRecord.__dataclass_fields__ if name != "expired"]
    expired = or_(
        models.ResumableUpload.expires_at < database_seconds(),
        models.ResumableUpload.state == literal(ResumableState.EXPIRED),
    )
    return select(*(getattr(models.ResumableUpload, name) for name in fields), expired.label("expired"))


def _is(tenant: str, dataset_id: str, resumable_id: str) -> ColumnElement[bool]:
    return (
        (models.ResumableUpload.tenant == tenant)
        & (models.ResumableUpload.dataset_id == dataset_id)
        & (models.ResumableUpload.id == resumable_id)
    )
