"""What happened to a curation, in order: what an event stream sends and resumes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from cocu.storage.catalog import models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_all, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import EventKind


@dataclass(frozen=True)
class EventRecord:
    """One event. `kind` is state, stage or progress; `data` is what changed."""

    id: int
    curation_id: str
    kind: str
    data: dict[str, Any]
    created_at: datetime


@repeated
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


def add(
    connection: Connection, *, tenant: str, curation_id: str, kind: EventKind, data: dict[str, Any]
) -> None:
    """Notes an event. The caller holds the lock of the curation, so that ids grow in order."""
    connection.execute(
        insert(models.Event).values(tenant=tenant, curation_id=curation_id, kind=kind, data=data)
    )
