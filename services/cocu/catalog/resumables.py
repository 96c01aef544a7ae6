"""Resumable uploads: how much of each has arrived, and when it expires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, insert, literal, or_, select, update

from cocu.catalog import events, models, quotas
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_one, new_id, storable
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import ResumableState, UploadState
from cocu.errors import ConflictError, NotFoundError

_AT_ONCE = 500
REMEMBERED_SECONDS = 7 * 24 * 3600.0
"""Seconds that the row of an expired upload is kept, to answer that it has expired."""


@dataclass(frozen=True)
class ResumableRecord:
    """A file that arrives in pieces: `offset` of its `length` bytes are safely stored.

    expired: whether it had expired when the record was read.
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


@retry_on_outage
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
    """Create one at offset 0. Raises LimitExceededError where the tenant has no room for it."""
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


@retry_on_outage
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


@retry_on_outage
def advance(catalog: Catalog, record: ResumableRecord, *, offset: int, seconds: float) -> ResumableRecord:
    """Store that `offset` bytes have safely arrived, and extend its time.

    Raises ConflictError when its offset or state is not that of the record any more.
    """
    with catalog.write() as connection:
        advanced = connection.execute(
            update(models.ResumableUpload)
            .where(
                models.ResumableUpload.id == record.id,
                models.ResumableUpload.state == ResumableState.OPEN,
                models.ResumableUpload.offset == record.offset,
            )
            .values(offset=offset, expires_at=database_seconds() + seconds)
        )
        if advanced.rowcount == 0:
            raise ConflictError("the upload was ended or moved on meanwhile; ask for its offset again")
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == record.upload_id, models.Upload.state == UploadState.RECEIVING)
            .values(received=offset)
        )
        current = fetch_one(
            connection, ResumableRecord, _select().where(models.ResumableUpload.id == record.id)
        )
    assert current is not None
    return current


@retry_on_outage
def complete(catalog: Catalog, *, resumable_id: str) -> None:
    """Store that its file is registered; the row stays until it expires."""
    with catalog.write() as connection:
        connection.execute(
            update(models.ResumableUpload)
            .where(models.ResumableUpload.id == resumable_id)
            .values(state=ResumableState.COMPLETED)
        )


@retry_on_outage
def remove(catalog: Catalog, *, resumable_id: str) -> None:
    """Delete the row of an upload that was refused after all."""
    with catalog.write() as connection:
        connection.execute(delete(models.ResumableUpload).where(models.ResumableUpload.id == resumable_id))


@retry_on_outage
def of_dataset(catalog: Catalog, *, dataset_id: str) -> list[str]:
    """The ids of all resumable uploads of a dataset."""
    with catalog.read() as connection:
        statement = select(models.ResumableUpload.id).where(models.ResumableUpload.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@retry_on_outage
def open_among(catalog: Catalog, ids: Sequence[str]) -> set[str]:
    """Those of these ids whose uploads are open."""
    open_ids: set[str] = set()
    with catalog.read() as connection:
        for start in range(0, len(ids), _AT_ONCE):
            statement = select(models.ResumableUpload.id).where(
                models.ResumableUpload.id.in_(ids[start : start + _AT_ONCE]),
                models.ResumableUpload.state == ResumableState.OPEN,
            )
            open_ids |= set(connection.execute(statement).scalars())
    return open_ids


@retry_on_outage
def expire(catalog: Catalog) -> list[str]:
    """Expire those whose time is over, delete old rows; return the ids whose files must be deleted."""
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
            failed = connection.execute(
                update(models.Upload)
                .where(
                    models.Upload.id == row.upload_id,
                    models.Upload.state == UploadState.RECEIVING,
                    ~_awaited(row.upload_id),
                )
                .values(state=UploadState.FAILED, error="the rest did not arrive in time", finished_at=now)
            )
            if failed.rowcount:
                events.add_uploads(connection, [row.upload_id])
        long_over = models.ResumableUpload.expires_at < now - REMEMBERED_SECONDS
        connection.execute(
            delete(models.ResumableUpload).where(
                or_(long_over, over & (models.ResumableUpload.state == ResumableState.COMPLETED))
            )
        )
    return [row.id for row in ended]


def _awaited(upload_id: str) -> ColumnElement[bool]:
    """Whether another attempt at the same upload is still open."""
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
