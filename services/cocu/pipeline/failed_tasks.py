"""Tasks of a curation that failed: given up, or to be tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, or_, select

from cocu.catalog import models
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, page_of
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import TaskState
from cocu.errors import InvalidInputError
from cocu.pipeline import stages
from cocu.pipeline.progress import in_stage


@dataclass(frozen=True)
class FailedTaskRecord:
    """A task with an error; `target` is a shard or WHOLE_CURATION, `reason` the last error.

    next_attempt: the earliest time of the next one; None if it runs just now, or was given up.
    """

    stage: str
    target: str
    given_up: bool
    attempts: int
    reason: str
    next_attempt: datetime | None


@retry_on_outage
def list_page(
    catalog: Catalog, *, curation_id: str, limit: int, after: str | None = None
) -> Page[FailedTaskRecord]:
    """Return the tasks of a curation that failed and are not done, by stage (alphabetically) and target.

    Raises InvalidInputError when `after` is not the `next` of a page. The cost is that of reading the rows of
    the run's tasks, one for each stage and shard.
    """
    task = models.Task
    unfinished = (TaskState.PENDING, TaskState.RUNNING, TaskState.FAILED)
    statement = (
        select(task.stage, task.target, task.state, task.attempts, task.error, task.not_before)
        .add_columns(database_seconds().label("now"))
        .where(
            or_(*(in_stage(curation_id, spec) for spec in stages.of_curations())),
            task.state.in_(unfinished),
            task.error.is_not(None),
        )
        .order_by(task.stage, task.target)
        .limit(limit + 1)
    )
    if after is not None:
        stage, separator, target = after.partition(":")
        if not separator:
            raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page")
        statement = statement.where(or_(task.stage > stage, and_(task.stage == stage, task.target > target)))
    with catalog.read() as connection:
        rows = connection.execute(statement).all()
    records = [
        FailedTaskRecord(
            stage=row.stage,
            target=row.target,
            given_up=row.state == TaskState.FAILED,
            attempts=row.attempts,
            reason=row.error,
            next_attempt=_time(max(row.not_before, row.now)) if row.state == TaskState.PENDING else None,
        )
        for row in rows
    ]
    return page_of(records, limit, [f"{record.stage}:{record.target}" for record in records])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
