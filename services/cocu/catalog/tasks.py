"""Tasks: units of work with a lease. The planner decides which tasks follow one that ends."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from cocu.catalog import models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_one, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import (
    UNFINISHED_TASKS,
    TaskState,
)

TaskRef = tuple[str, str]
"""(id, stage) of a task to put into the queue of its stage, once the transaction is committed."""

RESEND_SECONDS = 10.0
"""Seconds after which a message is sent again if its queue is empty: the message was lost."""

LOST_SECONDS = 1_800.0
"""The same for a queue that is not empty, where the message may still wait. A second message does no harm."""


@dataclass(frozen=True)
class TaskRecord:
    """One stage of one target. `owner_key`: "" for ingest, an encoder hash if shared, else a curation id."""

    id: str
    tenant: str
    dataset_id: str
    owner_key: str
    stage: str
    target: str
    curation_id: str | None
    state: str
    attempts: int
    failures: int
    units_total: int
    units_done: int
    requested: bool
    error: str | None


def identity(*, dataset_id: str, owner_key: str, stage: str, target: str) -> str:
    """Return the id of a task: the same work has the same id, so planning it twice changes nothing."""
    return hashlib.sha256("\n".join((dataset_id, owner_key, stage, target)).encode()).hexdigest()[:32]


def enqueue(
    connection: Connection,
    *,
    tenant: str,
    dataset_id: str,
    stage: str,
    target: str,
    owner_key: str = "",
    curation_id: str | None = None,
    units: int = 0,
) -> list[TaskRef]:
    """Make sure that this task is pending, running or done; restart it where it failed or was cancelled.

    Return the task if it is pending now. The caller holds the lock of the dataset, or of the curation for its
    own stages.
    """
    task_id = identity(dataset_id=dataset_id, owner_key=owner_key, stage=stage, target=target)
    state = connection.execute(
        select(models.Task.state).where(models.Task.id == task_id)
    ).scalar_one_or_none()
    if state is None:
        values: dict[str, Any] = {
            "id": task_id,
            "tenant": tenant,
            "dataset_id": dataset_id,
            "owner_key": owner_key,
            "stage": stage,
        }
        values |= {"target": target, "curation_id": curation_id, "units_total": units}
        values |= {"state": TaskState.PENDING, "lease_until": database_seconds()}
        connection.execute(insert(models.Task).values(values))
    elif state in (TaskState.FAILED, TaskState.CANCELLED):
        restart(connection, task_id=task_id)
    return [] if state in (TaskState.RUNNING, TaskState.DONE) else [(task_id, stage)]


def enqueue_again(
    connection: Connection, *, tenant: str, dataset_id: str, stage: str, target: str
) -> list[TaskRef]:
    """As `enqueue`, and restart the task where it runs or is done."""
    task_refs = enqueue(connection, tenant=tenant, dataset_id=dataset_id, stage=stage, target=target)
    if task_refs:
        return task_refs
    task_id = identity(dataset_id=dataset_id, owner_key="", stage=stage, target=target)
    restart(connection, task_id=task_id)
    return [(task_id, stage)]


def restart(connection: Connection, *, task_id: str, requested: bool = False) -> None:
    """Make the task pending, without attempts; requested: run it also where no curation needs it."""
    values: dict[str, Any] = {"state": TaskState.PENDING, "attempts": 0, "failures": 0, "units_done": 0}
    values |= {"error": None, "requested": requested}
    values |= {"lease_owner": None, "lease_until": database_seconds(), "not_before": 0.0}
    connection.execute(update(models.Task).where(models.Task.id == task_id).values(values))


def get(connection: Connection, *, task_id: str) -> TaskRecord | None:
    """The task, or None when its dataset was deleted."""
    return fetch_one(
        connection, TaskRecord, select_record(TaskRecord, models.Task).where(models.Task.id == task_id)
    )


def lease(connection: Connection, *, task_id: str, owner: str, seconds: float) -> bool:
    """Lease the task if it is free; return whether it was. The database's clock decides when leases end."""
    now = database_seconds()
    free = or_(
        and_(models.Task.state == TaskState.PENDING, models.Task.not_before <= now),
        and_(models.Task.state == TaskState.RUNNING, models.Task.lease_until < now),
    )
    taken = (
        update(models.Task)
        .where(models.Task.id == task_id, free)
        .values(
            state=TaskState.RUNNING,
            attempts=models.Task.attempts + 1,
            lease_owner=owner,
            lease_until=now + seconds,
            leased_at=now,
            units_done=0,
        )
    )
    return connection.execute(taken).rowcount == 1


def extend(connection: Connection, *, task_id: str, owner: str, seconds: float, units_done: int) -> bool:
    """Extend the lease of this owner and store the progress; False when the lease was lost."""
    extended = (
        update(models.Task)
        .where(*_held(task_id, owner))
        .values(lease_until=database_seconds() + seconds, units_done=units_done)
    )
    return connection.execute(extended).rowcount == 1


def holds(connection: Connection, *, task_id: str, owner: str) -> bool:
    """Return whether this owner still has the lease; lock the task until the transaction ends."""
    statement = select(models.Task.id).where(*_held(task_id, owner)).with_for_update(key_share=True)
    return connection.execute(statement).scalar_one_or_none() is not None


def close(connection: Connection, *, task_id: str) -> None:
    """Mark the task as done."""
    connection.execute(
        update(models.Task)
        .where(models.Task.id == task_id)
        .values(
            state=TaskState.DONE,
            lease_owner=None,
            units_done=models.Task.units_total,
            requested=False,
            seconds=database_seconds() - models.Task.leased_at,
            error=None,
        )
    )


@retry_on_outage
def others_are_running(catalog: Catalog, *, dataset_id: str, but: str) -> bool:
    """Whether a worker holds a live lease on another task of the dataset."""
    with catalog.read() as connection:
        statement = select(models.Task.id).where(
            models.Task.dataset_id == dataset_id,
            models.Task.id != but,
            models.Task.state == TaskState.RUNNING,
            models.Task.lease_until >= database_seconds(),
        )
        return connection.execute(statement.limit(1)).first() is not None


@retry_on_outage
def unfinished(catalog: Catalog) -> int:
    """How many tasks are pending or running, over all tenants."""
    with catalog.read() as connection:
        statement = select(func.count()).where(models.Task.state.in_(UNFINISHED_TASKS))
        return connection.execute(statement).scalar_one()


@retry_on_outage
def sweep(
    catalog: Catalog,
    *,
    queued: Collection[str] = (),
    resend_seconds: float = RESEND_SECONDS,
    limit: int = 1_000,
) -> list[TaskRef]:
    """Return (id, stage) of tasks to send again: their worker is gone, or their message is lost.

    queued: the stages whose queues contain messages. A task that waits behind others has not lost its
    message, which must not be sent again and again. In an empty queue a lost message is noticed sooner.
    """
    now = database_seconds()
    # `lease_until` of a running task is when its lease ends, of a pending one when its message was sent.
    abandoned = and_(models.Task.state == TaskState.RUNNING, models.Task.lease_until < now)
    forgotten = and_(
        models.Task.state == TaskState.PENDING,
        or_(
            and_(models.Task.stage.not_in(list(queued)), models.Task.lease_until < now - resend_seconds),
            models.Task.lease_until < now - LOST_SECONDS,
        ),
    )
    due = (
        select(models.Task.id, models.Task.stage)
        .where(or_(abandoned, forgotten), models.Task.not_before <= now)
        .order_by(models.Task.lease_until, models.Task.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    with catalog.write() as connection:
        due_tasks = [(row.id, row.stage) for row in connection.execute(due)]
        again = {"state": TaskState.PENDING, "lease_owner": None, "lease_until": now}
        for task_id, _ in due_tasks:
            connection.execute(update(models.Task).where(models.Task.id == task_id).values(again))
    return due_tasks


@retry_on_outage
def release_all(catalog: Catalog) -> None:
    """End every lease and send every message again: only right where no other process has workers."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Task)
            .where(models.Task.state.in_(UNFINISHED_TASKS))
            .values(state=TaskState.PENDING, lease_owner=None, lease_until=0.0)
        )


@retry_on_outage
def held(catalog: Catalog, *, process: str) -> list[tuple[str, str, str]]:
    """(id, stage, owner) of the tasks whose owner's name begins with that of a process."""
    with catalog.read() as connection:
        statement = select(models.Task.id, models.Task.stage, models.Task.lease_owner).where(
            models.Task.state == TaskState.RUNNING,
            models.Task.lease_owner.startswith(process, autoescape=True),
        )
        return [(row.id, row.stage, row.lease_owner) for row in connection.execute(statement)]


def _held(task_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return (
        models.Task.id == task_id,
        models.Task.state == TaskState.RUNNING,
        models.Task.lease_owner == owner,
    )
