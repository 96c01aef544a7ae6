"""How much the catalog contains, over all tenants: what monitoring reads every few seconds.

It reads tasks, shards and curations, whose tables are small; never samples or rejections.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, func, select

from cocu.catalog import models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.states import TaskState


@dataclass(frozen=True)
class TaskCount:
    """The tasks of one stage in one state.

    samples: in these tasks, where the number is known before the work. repeats: attempts after the first of
    each task. waiting_seconds: the longest time since one that may run was last put into the queue; 0 where
    none waits.
    """

    stage: str
    state: str
    tasks: int
    samples: int
    repeats: int
    waiting_seconds: float


@dataclass(frozen=True)
class Counts:
    """One moment of the catalog. curations: their number by state; samples: those accepted at ingest."""

    tasks: tuple[TaskCount, ...]
    curations: dict[str, int]
    samples: int


def collect(catalog: Catalog) -> Counts:
    """Count everything in one transaction, without retries. Raises UnavailableError."""
    with catalog.read() as connection:
        curations = select(models.Curation.state, func.count()).group_by(models.Curation.state)
        samples = select(func.coalesce(func.sum(models.Shard.samples), 0))
        return Counts(
            tasks=tuple(_tasks(connection)),
            curations={state: int(count) for state, count in connection.execute(curations)},
            samples=int(connection.execute(samples).scalar_one()),
        )


def _tasks(connection: Connection) -> list[TaskCount]:
    now = connection.execute(select(database_seconds())).scalar_one()
    sent, due = models.Task.lease_until, models.Task.not_before
    since = case((sent > due, sent), else_=due)
    # For a task that was released and not sent again yet, both times are 0: unknown.
    waits = and_(models.Task.state == TaskState.PENDING, due <= now, since > 0)
    repeats = case((models.Task.attempts > 1, models.Task.attempts - 1), else_=0)
    statement = select(
        models.Task.stage,
        models.Task.state,
        func.count().label("tasks"),
        func.sum(models.Task.units_total).label("samples"),
        func.sum(repeats).label("repeats"),
        func.min(case((waits, since))).label("since"),
    ).group_by(models.Task.stage, models.Task.state)
    return [
        TaskCount(
            stage=row.stage,
            state=row.state,
            tasks=int(row.tasks),
            samples=int(row.samples),
            repeats=int(row.repeats),
            waiting_seconds=0.0 if row.since is None else max(0.0, float(now) - float(row.since)),
        )
        for row in connection.execute(statement)
    ]
