"""Curations: what is fixed when one is created, and its state and result."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Double, bindparam, select, type_coerce, update

from cocu.catalog import events, models
from cocu.catalog.db_time import Instant, database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import (
    ACTIVE_CURATIONS,
    UNFINISHED_TASKS,
    CurationState,
    DatasetState,
    EventKind,
    TaskState,
)
from cocu.errors import InvalidInputError, NotFoundError


@dataclass(frozen=True)
class CurationRecord:
    """One run. `parameters` are those of `CurationParameters`; `statistics` is set when it is published.

    left_out: why uploads of the dataset are not in it, by name. threshold: the score from which a concept
    counts as added, None where nobody set one; it may change at any time.
    """

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
    left_out: dict[str, Any] | None
    error: str | None
    threshold: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class CurationShardRecord:
    """A shard of a curation's snapshot: its samples are the global rows from `first_row` on.

    revision: how often its embeddings had been replaced when the run was created. usable: whether it has
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


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, curation_id: str) -> CurationRecord:
    """The curation. Raises NotFoundError when the tenant has none of this id."""
    with catalog.read() as connection:
        record = find(connection, curation_id, visible=True)
    if record is None or record.tenant != tenant:
        raise NotFoundError(f"no curation {curation_id!r}")
    return record


@retry_on_outage
def of_task(catalog: Catalog, *, curation_id: str) -> CurationRecord:
    """The curation that a task is about. Raises NotFoundError when it was deleted."""
    with catalog.read() as connection:
        record = find(connection, curation_id)
    if record is None:
        raise NotFoundError(f"no curation {curation_id!r}")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog,
    *,
    tenant: str,
    limit: int,
    after: str | None = None,
    dataset_id: str | None = None,
    states: Collection[str] = (),
    newest_first: bool = False,
) -> Page[CurationRecord]:
    """The tenant's curations, oldest first unless newest_first; of one dataset or some states if given.

    Raises InvalidInputError when `after` is not the `next` of a page.
    """
    created, key = type_coerce(models.Curation.created_at, Double), models.Curation.id
    order = (created.desc(), key.desc()) if newest_first else (created, key)
    statement = _select_visible().where(models.Curation.tenant == tenant).order_by(*order).limit(limit + 1)
    if dataset_id is not None:
        statement = statement.where(models.Curation.dataset_id == dataset_id)
    if states:
        statement = statement.where(models.Curation.state.in_(states))
    with catalog.read() as connection:
        if after is not None:
            created_at, last_id = _cursor(after)
            # A cursor has microseconds, the catalog may have finer times: by the coarser one a page would
            # begin with the row that the page before ended with, for ever.
            stored = connection.execute(select(created).where(key == last_id)).scalar()
            moment = created_at.timestamp() if stored is None else float(stored)
            beyond = created < moment if newest_first else created > moment
            next_to = key < last_id if newest_first else key > last_id
            statement = statement.where(beyond | ((created == moment) & next_to))
        records = fetch_all(connection, CurationRecord, statement)
    return page_of(records, limit, [f"{record.created_at.timestamp()!r}:{record.id}" for record in records])


@retry_on_outage
def shards(catalog: Catalog, *, curation_id: str) -> list[CurationShardRecord]:
    """The snapshot of a curation in order."""
    statement = (
        select_record(CurationShardRecord, models.CurationShard)
        .where(models.CurationShard.curation_id == curation_id)
        .order_by(models.CurationShard.ordinal)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationShardRecord, statement)


@retry_on_outage
def cancel(catalog: Catalog, *, tenant: str, curation_id: str) -> CurationRecord:
    """Stop a curation in progress; one that has ended stays as it is. Raises NotFoundError without it."""
    with catalog.write() as connection:
        locked = select(models.Curation.state).where(
            models.Curation.id == curation_id, models.Curation.tenant == tenant
        )
        state = connection.execute(locked.with_for_update(key_share=True)).scalar_one_or_none()
        if state in ACTIVE_CURATIONS:
            cancelled = {"state": CurationState.CANCELLED, "finished_at": database_seconds()}
            connection.execute(
                update(models.Curation).where(models.Curation.id == curation_id).values(cancelled)
            )
            connection.execute(
                update(models.Task)
                .where(models.Task.curation_id == curation_id, models.Task.state.in_(UNFINISHED_TASKS))
                .values(state=TaskState.CANCELLED, lease_owner=None)
            )
            change = {"state": CurationState.CANCELLED}
            events.add(connection, tenant=tenant, curation_id=curation_id, kind=EventKind.STATE, data=change)
    return get(catalog, tenant=tenant, curation_id=curation_id)


@retry_on_outage
def set_threshold(
    catalog: Catalog, *, tenant: str, curation_id: str, threshold: float | None
) -> CurationRecord:
    """Set the score from which a concept counts as added, None for none. Raises NotFoundError without it."""
    with catalog.write() as connection:
        record = find(connection, curation_id, visible=True)
        if record is None or record.tenant != tenant:
            raise NotFoundError(f"no curation {curation_id!r}")
        connection.execute(
            update(models.Curation).where(models.Curation.id == curation_id).values(threshold=threshold)
        )
    return get(catalog, tenant=tenant, curation_id=curation_id)


@retry_on_outage
def store_archives_hash(catalog: Catalog, *, curation_id: str, shard_id: str, content_hash: str) -> None:
    """Store the hash of the archives of a shard, which are in the object store."""
    with catalog.write() as connection:
        connection.execute(
            update(models.CurationShard)
            .where(models.CurationShard.curation_id == curation_id, models.CurationShard.shard_id == shard_id)
            .values(content_hash=content_hash)
        )


@retry_on_outage
def store_result(
    catalog: Catalog, *, curation_id: str, content_hash: str, statistics: dict[str, Any]
) -> None:
    """Store the hash over all archives and their summary."""
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


def find(connection: Connection, curation_id: str, visible: bool = False) -> CurationRecord | None:
    """The curation, inside a transaction; visible: None also where its dataset is being deleted."""
    return fetch_one(connection, CurationRecord, _FIND_VISIBLE if visible else _FIND, {"id": curation_id})


def _cursor(after: str) -> tuple[datetime, str]:
    seconds, separator, last_id = after.partition(":")
    try:
        moment = Instant().process_result_value(float(seconds), dialect=None)  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page") from error
    if not separator or moment is None:
        raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page")
    return moment, last_id
