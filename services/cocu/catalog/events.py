"""What happened to curations and uploads, in order: event streams send it, and resume after the last one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from cocu.catalog import models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_all, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import EventKind

GAP_SECONDS = 10.0
"""How long an id that is missing may still come: the longest time of a transaction that stores an event."""


@dataclass(frozen=True)
class EventRecord:
    """One event of a curation. `kind` is state, stage or progress; `data` is what changed."""

    id: int
    curation_id: str
    kind: str
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class TenantEventRecord:
    """One event of a tenant; of an upload, `curation_id` is None, and `data` has its name."""

    id: int
    tenant: str
    curation_id: str | None
    dataset_id: str | None
    kind: str
    data: dict[str, Any]
    created_at: datetime


@retry_on_outage
def since(
    catalog: Catalog, *, tenant: str, curation_id: str, after: int = 0, limit: int = 1_000
) -> list[EventRecord]:
    """The curation's events with an id above `after`, in order."""
    statement = (
        select_record(EventRecord, models.Event)
        .where(
            models.Event.tenant == tenant, models.Event.curation_id == curation_id, models.Event.id > after
        )
        .order_by(models.Event.id)
        .limit(limit)
    )
    with catalog.read() as connection:
        return fetch_all(connection, EventRecord, statement)


@retry_on_outage
def settled(catalog: Catalog) -> int:
    """An id among the last ones below which no event can come any more; 0 without any event."""
    last = select(models.Event.id, models.Event.created_at).order_by(models.Event.id.desc()).limit(1_000)
    with catalog.read() as connection:
        now = float(connection.execute(select(database_seconds())).scalar_one())
        rows = connection.execute(last).all()
    old = (row.id for row in rows if row.created_at.timestamp() < now - GAP_SECONDS)
    return next(old, rows[-1].id - 1 if rows else 0)


@retry_on_outage
def newest(catalog: Catalog) -> int:
    """The highest id of an event, 0 without any."""
    with catalog.read() as connection:
        return connection.execute(select(func.max(models.Event.id))).scalar_one() or 0


@retry_on_outage
def of_tenant(
    catalog: Catalog, *, tenant: str, after: int, up_to: int, limit: int = 1_000
) -> list[TenantEventRecord]:
    """The tenant's events with after < id ≤ up_to, in order."""
    statement = _of_all().where(
        models.Event.tenant == tenant, models.Event.id > after, models.Event.id <= up_to
    )
    with catalog.read() as connection:
        return fetch_all(connection, TenantEventRecord, statement.limit(limit))


@retry_on_outage
def of_all_tenants(catalog: Catalog, *, after: int, limit: int = 1_000) -> list[TenantEventRecord]:
    """The events of all tenants with an id above `after`, in order, as far as none can come between them.

    Transactions take ids in another order than they end in. So this stops before a gap in the ids, unless the
    event behind it is so old that whoever took the missing id has given up.
    """
    with catalog.read() as connection:
        now = float(connection.execute(select(database_seconds())).scalar_one())
        statement = _of_all().where(models.Event.id > after).limit(limit)
        records = fetch_all(connection, TenantEventRecord, statement)
    settled: list[TenantEventRecord] = []
    for record in records:
        if record.id != after + 1 and record.created_at.timestamp() > now - GAP_SECONDS:
            break
        settled.append(record)
        after = record.id
    return settled


def add(
    connection: Connection, *, tenant: str, curation_id: str, kind: EventKind, data: dict[str, Any]
) -> None:
    """Store an event. The caller holds the lock of the curation, so that ids grow in order."""
    connection.execute(
        insert(models.Event).values(tenant=tenant, curation_id=curation_id, kind=kind, data=data)
    )


def is_recent(connection: Connection, *, curation_id: str, kind: EventKind, seconds: float) -> bool:
    """Return whether the curation's last event of this kind is younger than this."""
    last = (
        select(models.Event.created_at >= database_seconds() - seconds)
        .where(models.Event.curation_id == curation_id, models.Event.kind == kind)
        .order_by(models.Event.id.desc())
        .limit(1)
    )
    return bool(connection.execute(last).scalar_one_or_none())


def add_uploads(connection: Connection, upload_ids: Iterable[str]) -> None:
    """Store for each of these uploads an event with the state that it has now, in the same transaction."""
    wanted = list(upload_ids)
    if not wanted:
        return
    columns = (models.Upload.tenant, models.Upload.dataset_id, models.Upload.name, models.Upload.state)
    measures = (models.Upload.accepted, models.Upload.bytes, models.Upload.error)
    uploads = select(*columns, *measures).where(models.Upload.id.in_(wanted)).order_by(models.Upload.id)
    for row in connection.execute(uploads).all():
        data = {"upload": row.name, "state": row.state, "accepted": row.accepted, "bytes": row.bytes}
        if row.error is not None:
            data["detail"] = row.error
        connection.execute(
            insert(models.Event).values(
                tenant=row.tenant, dataset_id=row.dataset_id, kind=EventKind.UPLOAD, data=data
            )
        )


def _of_all() -> Any:
    event = models.Event
    # Looked up for each event: a join may read all curations of all tenants.
    of_curation = (
        select(models.Curation.dataset_id).where(models.Curation.id == event.curation_id).scalar_subquery()
    )
    dataset_id = func.coalesce(event.dataset_id, of_curation).label("dataset_id")
    columns = (event.id, event.tenant, event.curation_id, dataset_id, event.kind, event.data)
    return select(*columns, event.created_at).order_by(event.id)
