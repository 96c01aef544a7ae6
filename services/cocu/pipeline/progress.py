"""The progress of a curation by stage, and the failures of its tasks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import TaskState
from cocu.curation.parameters import CurationParameters
from cocu.errors import NotFoundError
from cocu.pipeline import stages
from cocu.pipeline.stages import StageSpec


@dataclass(frozen=True)
class StageProgress:
    """The numbers of tasks and samples of one stage. The totals are known before the stage starts."""

    stage: str
    total: int
    done: int
    failed: int
    samples_total: int
    samples_done: int


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed for good: its stage, its shard (or "all") and the error."""

    stage: str
    target: str
    error: str


@retry_on_outage
def of_curation(catalog: Catalog, *, tenant: str, curation_id: str) -> tuple[StageProgress, ...]:
    """Return the progress of every stage, in order. Raises NotFoundError if the curation does not exist."""
    with catalog.read() as connection:
        statement = select(models.Curation.samples, models.Curation.parameters).where(
            models.Curation.id == curation_id, models.Curation.tenant == tenant
        )
        run = connection.execute(statement).one_or_none()
        if run is None:
            raise NotFoundError(f"no curation {curation_id!r}")
        parameters = CurationParameters.from_stored(run.parameters)
        return tuple(
            stage_progress(connection, curation_id=curation_id, spec=spec)
            for spec in stages.of_curations()
            if spec.when(parameters, run.samples)
        )


def stage_progress(connection: Connection, *, curation_id: str, spec: StageSpec) -> StageProgress:
    """Return the progress of one stage."""
    snapshot = select(func.count(), func.coalesce(func.sum(models.CurationShard.samples), 0)).where(
        models.CurationShard.curation_id == curation_id
    )
    shards, samples = connection.execute(snapshot).one()
    counts = (
        select(models.Task.state, func.count(), func.coalesce(func.sum(models.Task.units_done), 0))
        .where(in_stage(curation_id, spec))
        .group_by(models.Task.state)
    )
    by_state = {state: (int(count), int(units)) for state, count, units in connection.execute(counts)}
    return StageProgress(
        stage=spec.name,
        total=1 if spec.unit == "curation" else int(shards),
        done=by_state.get(TaskState.DONE, (0, 0))[0],
        failed=by_state.get(TaskState.FAILED, (0, 0))[0],
        samples_total=int(samples),
        samples_done=sum(units for _, units in by_state.values()),
    )


@retry_on_outage
def done_targets(catalog: Catalog, *, curation_id: str, stage: str) -> set[str]:
    """Return the targets whose task of this stage is done."""
    statement = select(models.Task.target).where(
        in_stage(curation_id, stages.spec_of(stage)), models.Task.state == TaskState.DONE
    )
    with catalog.read() as connection:
        return set(connection.execute(statement).scalars())


@retry_on_outage
def failures(catalog: Catalog, *, curation_id: str) -> list[TaskFailure]:
    """Return the tasks that failed for good, by stage and shard."""
    with catalog.read() as connection:
        return failed_tasks(connection, curation_id=curation_id)


def failed_tasks(connection: Connection, *, curation_id: str) -> list[TaskFailure]:
    """Return the tasks that failed for good, inside a transaction."""
    failures: list[TaskFailure] = []
    for spec in stages.of_curations():
        statement = (
            select(models.Task.target, models.Task.error)
            .where(in_stage(curation_id, spec), models.Task.state == TaskState.FAILED)
            .order_by(models.Task.target)
        )
        failures += [
            TaskFailure(stage=spec.name, target=row.target, error=row.error or "")
            for row in connection.execute(statement)
        ]
    return failures


def in_stage(curation_id: str, spec: StageSpec) -> ColumnElement[bool]:
    """Return the condition that a task belongs to this stage of this curation; an index covers it."""
    task = models.Task
    run = select(models.Curation.dataset_id, models.Curation.encoder_hash).where(
        models.Curation.id == curation_id
    )
    run_row = run.subquery()
    of_dataset = task.dataset_id == select(run_row.c.dataset_id).scalar_subquery()
    if not spec.shared:
        return and_(of_dataset, task.owner_key == curation_id, task.stage == spec.name)
    shard = select(models.CurationShard.shard_id).where(
        models.CurationShard.curation_id == curation_id, models.CurationShard.shard_id == task.target
    )
    return and_(
        of_dataset,
        task.owner_key == select(run_row.c.encoder_hash).scalar_subquery(),
        task.stage == spec.name,
        shard.exists(),
    )
