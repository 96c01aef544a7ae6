"""The planner: each change of a task's state also plans what follows, in the same transaction.

A curation goes through the chain of the table of stages: the worker that finishes the last task of a stage
plans the next stage. So there is no coordinator that could be lost. Stages `beside` another stage start on a
shard when that stage has done the shard. Only the last stage of the chain waits for them, until their first
failure; they are retried after the curation has ended. Nothing waits for stages beside the last stage.

Locks are always taken in the order dataset, curations by id, task. Two transactions that took them in
different orders could wait for each other for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from cocu.catalog import datasets, events, models, sources, tasks, uploads
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.records import storable
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import (
    ACTIVE_CURATIONS,
    UNFINISHED_TASKS,
    CurationState,
    EventKind,
    TaskState,
    UploadState,
)
from cocu.catalog.tasks import TaskRecord, TaskRef
from cocu.curation.parameters import CurationParameters
from cocu.pipeline import progress, projection_tasks, speed, stages
from cocu.pipeline.demand import active_runs_of, is_needed
from cocu.pipeline.stages import WHOLE_CURATION, StageSpec


@dataclass(frozen=True)
class Taken:
    """The leased task, or None; and the tasks to enqueue if the task was given up instead."""

    task: TaskRecord | None
    task_refs: tuple[TaskRef, ...] = ()


def begin(connection: Connection, *, curation_id: str) -> list[TaskRef]:
    """Plan the first stage of a curation; the caller holds the lock of its dataset."""
    run = _lock_runs(connection, [curation_id])[0]
    first = stages.first()
    task_refs: list[TaskRef] = []
    for shard_id, samples in _shards(connection, curation_id):
        task_refs += _plan(connection, run, first, shard_id, samples)
        # A shared task that an earlier run has done does not finish again, so what follows it beside the run
        # is planned here.
        if _state(connection, _task_id(run, first, shard_id)) == TaskState.DONE:
            for spec in stages.beside(first.name):
                task_refs += _plan(connection, run, spec, shard_id, samples)
    return task_refs + _advance(connection, run)


@retry_on_outage
def take(catalog: Catalog, *, task_id: str, owner: str, lease_seconds: float, max_lost_leases: int) -> Taken:
    """Lease a task to a worker; give the task up if too many workers vanished while they ran it.

    Nothing is leased if another worker has the task, or it has ended, or it is not needed any more.
    """
    with catalog.write() as connection:
        task = tasks.get(connection, task_id=task_id)
        if task is None:
            return Taken(None)
        runs = _lock_affected_runs(connection, task)
        if not tasks.lease(connection, task_id=task_id, owner=owner, seconds=lease_seconds):
            return Taken(None)
        if not is_needed(connection, task):
            _set_task(connection, task_id, state=TaskState.CANCELLED, lease_owner=None)
            return Taken(None)
        # Failures are counted, and an attempt that was handed back or postponed is subtracted again. So the
        # other attempts ended with their workers.
        lost = task.attempts - task.failures
        if lost > max_lost_leases and not stages.spec_of(task.stage).endless:
            error = f"{lost} workers vanished while they ran it; it may need more memory than they have"
            return Taken(None, tuple(_fail(connection, task, runs, error)))
        for run in runs:
            _start(connection, run)
        projection_tasks.note_state(connection, task, TaskState.RUNNING)
    return Taken(task)


@retry_on_outage
def finish(catalog: Catalog, *, task_id: str, owner: str) -> list[TaskRef]:
    """Mark a task as done and plan what follows; do nothing if the lease was lost.

    The result of the task must be stored before.
    """
    with catalog.write() as connection:
        task = tasks.get(connection, task_id=task_id)
        if task is None:
            return []
        runs = _lock_affected_runs(connection, task)
        if not tasks.holds(connection, task_id=task_id, owner=owner):
            return []
        tasks.close(connection, task_id=task_id)
        projection_tasks.note_state(connection, task, TaskState.DONE)
        task_refs: list[TaskRef] = []
        for spec in stages.beside(task.stage):
            if runs:
                task_refs += _plan_beside(connection, runs[0], spec, task)
            if task.requested:
                task_refs += _rerun(connection, task, spec)
        return task_refs + _record_progress(connection, task, runs)


@retry_on_outage
def give_up(
    catalog: Catalog,
    *,
    task_id: str,
    owner: str,
    error: str,
    retry: bool,
    max_failures: int | None,
    retry_seconds: float,
) -> list[TaskRef]:
    """Record that the task ended in an error: it is tried again, or fails and the rest goes on without it.

    max_failures: None to retry until it succeeds.
    """
    with catalog.write() as connection:
        task = tasks.get(connection, task_id=task_id)
        if task is None:
            return []
        runs = _lock_affected_runs(connection, task)
        if not tasks.holds(connection, task_id=task_id, owner=owner):
            return []
        failures = task.failures + 1
        again = retry and (max_failures is None or failures < max_failures)
        spec = stages.spec_of(task.stage)
        if spec.endless or again:
            wait = database_seconds() + retry_seconds * 2 ** min(failures - 1, 8)
            values = {"state": TaskState.PENDING, "lease_owner": None, "failures": failures}
            # No message is sent now: the sweeper sends one when the wait is over.
            _set_task(connection, task_id, **values, not_before=wait, lease_until=0.0, error=storable(error))
            return [] if spec.beside is None else _go_on_without(connection, task, runs)
        _set_task(connection, task_id, failures=failures)
        return _fail(connection, task, runs, error)


def _go_on_without(connection: Connection, task: TaskRecord, runs: list[Any]) -> list[TaskRef]:
    """Let the curations that wait for this task go on; it stays needed after they have ended."""
    _set_task(connection, task.id, requested=True)
    return [task_ref for run in runs for task_ref in _advance(connection, run)]


def _rerun(connection: Connection, task: TaskRecord, spec: StageSpec) -> list[TaskRef]:
    """Run the task of a stage beside this one again, because its input was replaced."""
    task_id = tasks.identity(
        dataset_id=task.dataset_id, owner_key=task.owner_key, stage=spec.name, target=task.target
    )
    if _state(connection, task_id) is None:
        return []
    tasks.restart(connection, task_id=task_id, requested=True)
    return [(task_id, spec.name)]


@retry_on_outage
def postpone(catalog: Catalog, *, task_id: str, owner: str, seconds: float, error: str) -> list[TaskRef]:
    """Try the task again after `seconds`: something is missing for which it is not to blame, such as room.

    Neither an attempt nor a failure is counted. Returns no tasks: the sweeper sends it when the wait is over.
    """
    with catalog.write() as connection:
        task = tasks.get(connection, task_id=task_id)
        if task is None or not tasks.holds(connection, task_id=task_id, owner=owner):
            return []
        values = {"state": TaskState.PENDING, "lease_owner": None, "attempts": task.attempts - 1}
        wait = database_seconds() + seconds
        _set_task(connection, task_id, **values, not_before=wait, lease_until=0.0, error=storable(error))
        return []


@retry_on_outage
def hand_back(catalog: Catalog, *, task_id: str, owner: str) -> None:
    """Release a task that its worker leaves unfinished; the attempt does not count."""
    with catalog.write() as connection:
        task = tasks.get(connection, task_id=task_id)
        if task is None or not tasks.holds(connection, task_id=task_id, owner=owner):
            return
        state = TaskState.PENDING if is_needed(connection, task) else TaskState.CANCELLED
        values = {"state": state, "lease_owner": None, "attempts": task.attempts - 1}
        _set_task(connection, task_id, **values, lease_until=0.0)


@retry_on_outage
def renew(catalog: Catalog, *, task_id: str, owner: str, seconds: float, units_done: int) -> bool:
    """Extend the lease and store the progress; return False if it was lost or the task is not needed."""
    with catalog.write() as connection:
        if not tasks.extend(connection, task_id=task_id, owner=owner, seconds=seconds, units_done=units_done):
            return False
        task = tasks.get(connection, task_id=task_id)
        return task is not None and is_needed(connection, task)


def _lock_runs(connection: Connection, curation_ids: list[str]) -> list[Any]:
    # key_share: inserting rows that refer to the curation must not wait for this lock. By id: see above.
    statement = (
        select(models.Curation.__table__)
        .where(models.Curation.id.in_(curation_ids), models.Curation.state.in_(ACTIVE_CURATIONS))
        .order_by(models.Curation.id)
        .with_for_update(key_share=True)
    )
    return list(connection.execute(statement))


def _lock_affected_runs(connection: Connection, task: TaskRecord) -> list[Any]:
    """Lock and return the curations in progress that need this task."""
    if task.curation_id is not None:
        return _lock_runs(connection, [task.curation_id])
    # The dataset first: what follows shared tasks and uploads is planned under its lock.
    datasets.lock(connection, dataset_id=task.dataset_id)
    if not stages.spec_of(task.stage).shared:
        return []
    return _lock_runs(connection, list(connection.execute(active_runs_of(task)).scalars()))


def _shards(connection: Connection, curation_id: str) -> list[tuple[str, int]]:
    statement = (
        select(models.CurationShard.shard_id, models.CurationShard.samples)
        .where(models.CurationShard.curation_id == curation_id)
        .order_by(models.CurationShard.ordinal)
    )
    return [(row.shard_id, row.samples) for row in connection.execute(statement)]


def _state(connection: Connection, task_id: str) -> str | None:
    return connection.execute(select(models.Task.state).where(models.Task.id == task_id)).scalar_one_or_none()


def _set_task(connection: Connection, task_id: str, **values: Any) -> None:
    connection.execute(update(models.Task).where(models.Task.id == task_id).values(values))


def _set_run(connection: Connection, run: Any, **values: Any) -> None:
    connection.execute(update(models.Curation).where(models.Curation.id == run.id).values(values))


def _plan(connection: Connection, run: Any, spec: StageSpec, target: str, units: int) -> list[TaskRef]:
    return tasks.enqueue(
        connection,
        tenant=run.tenant,
        dataset_id=run.dataset_id,
        stage=spec.name,
        target=target,
        owner_key=_owner_key(run, spec),
        curation_id=None if spec.shared else run.id,
        units=units,
    )


def _plan_shards(connection: Connection, run: Any, spec: StageSpec, *, after: str) -> list[TaskRef]:
    """Plan a stage on the shards with which the run has come through the stage `after`."""
    remaining = _done_targets(connection, run, stages.shard_stage(after))
    shards = [shard for shard in _shards(connection, run.id) if shard[0] in remaining]
    return [task_ref for shard in shards for task_ref in _plan(connection, run, spec, *shard)]


def _plan_beside(connection: Connection, run: Any, spec: StageSpec, ended: TaskRecord) -> list[TaskRef]:
    if stages.spec_of(ended.stage).unit == "shard":
        return _plan(connection, run, spec, ended.target, ended.units_total)
    task_refs = _plan_shards(connection, run, spec, after=ended.stage)
    for task_id, _ in task_refs:  # needed although the run may have ended
        _set_task(connection, task_id, requested=True)
    return task_refs


def _owner_key(run: Any, spec: StageSpec) -> str:
    return str(run.encoder_hash if spec.shared else run.id)


def _task_id(run: Any, spec: StageSpec, target: str) -> str:
    owner_key = _owner_key(run, spec)
    return tasks.identity(dataset_id=run.dataset_id, owner_key=owner_key, stage=spec.name, target=target)


def _start(connection: Connection, run: Any) -> None:
    if run.state != CurationState.QUEUED:
        return
    _set_run(connection, run, state=CurationState.RUNNING, started_at=database_seconds())
    state = {"state": CurationState.RUNNING}
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STATE, data=state)


def _record_progress(connection: Connection, task: TaskRecord, runs: list[Any]) -> list[TaskRef]:
    """Store the progress of each of these curations, and plan what follows in it."""
    spec = stages.spec_of(task.stage)
    task_refs: list[TaskRef] = []
    for run in runs:
        speed.record_progress(connection, run, spec, is_ended=not _is_unfinished(connection, run, spec))
        task_refs += _advance(connection, run)
    return task_refs


def _fail(connection: Connection, task: TaskRecord, runs: list[Any], error: str) -> list[TaskRef]:
    _set_task(connection, task.id, state=TaskState.FAILED, lease_owner=None, error=storable(error))
    upload_state = stages.spec_of(task.stage).upload_state
    if upload_state is not None:
        # The URL of a file to fetch may hold a password, and it is not needed any more.
        is_fetch = upload_state == UploadState.RECEIVING
        if is_fetch and sources.forget(connection, upload_id=task.target):
            error = f"{storable(error)[:1_000]}{sources.FORGOTTEN}"
        # In another state the client has sent the file itself in the meantime, so the upload has not failed.
        uploads.mark_failed(connection, upload_id=task.target, state=upload_state, error=error)
    projection_tasks.note_state(connection, task, TaskState.FAILED)
    return _record_progress(connection, task, runs)


def _done_targets(connection: Connection, run: Any, spec: StageSpec) -> set[str]:
    statement = select(models.Task.target).where(
        progress.in_stage(run.id, spec), models.Task.state == TaskState.DONE
    )
    return set(connection.execute(statement).scalars())


def _is_unfinished(
    connection: Connection, run: Any, spec: StageSpec, *, without_failures: bool = False
) -> bool:
    """Return whether the stage has unfinished tasks; without_failures: only tasks that never failed count."""
    statement = select(models.Task.id).where(
        progress.in_stage(run.id, spec), models.Task.state.in_(UNFINISHED_TASKS)
    )
    if without_failures:
        statement = statement.where(models.Task.failures == 0)
    return connection.execute(statement.limit(1)).first() is not None


def _waits_for_side_tasks(connection: Connection, run: Any) -> bool:
    """Return whether the last stage has to wait for unfinished tasks of stages beside the run."""
    specs = [spec for spec in stages.of_curations() if spec.beside is not None and stages.is_awaited(spec)]
    return any(_is_unfinished(connection, run, spec, without_failures=True) for spec in specs)


def _advance(connection: Connection, run: Any) -> list[TaskRef]:
    """If the current stage is finished, plan the next one; after the last stage, end the curation.

    The caller holds the lock of the curation. So if two workers finish the last two tasks at the same time,
    the second one sees the commit of the first, and exactly one of them finds the stage finished.
    """
    # Read again under the lock: another worker may have moved on to the next stage since `run` was read.
    name = connection.execute(select(models.Curation.stage).where(models.Curation.id == run.id)).scalar_one()
    stage = stages.spec_of(name)
    if _is_unfinished(connection, run, stage):
        return []
    done = _done_targets(connection, run, stage)
    if not done:
        return _end(connection, run, CurationState.FAILED)
    parameters = CurationParameters.from_stored(run.parameters)
    following = stages.following(name, parameters, run.samples)
    if following is None:
        failed = _failures_that_count(connection, run)
        state = CurationState.COMPLETED_WITH_ERRORS if failed else CurationState.COMPLETED
        return _end(connection, run, state)
    is_last = stages.following(following.name, parameters, run.samples) is None
    if is_last and _waits_for_side_tasks(connection, run):
        return []
    if stage.decides_shards:
        connection.execute(
            update(models.CurationShard)
            .where(models.CurationShard.curation_id == run.id, models.CurationShard.shard_id.in_(done))
            .values(usable=True)
        )
    _set_run(connection, run, stage=following.name)
    data = {"stage": following.name}
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STAGE, data=data)
    if following.unit == "curation":
        return _plan(connection, run, following, WHOLE_CURATION, run.samples)
    # A shard on which a stage has failed is left out of all later stages.
    return _plan_shards(connection, run, following, after=name)


def _failures_that_count(connection: Connection, run: Any) -> list[progress.TaskFailure]:
    failures = progress.failed_tasks(connection, curation_id=run.id)
    return [failure for failure in failures if stages.spec_of(failure.stage).beside is None]


def _end(connection: Connection, run: Any, state: CurationState) -> list[TaskRef]:
    failures = _failures_that_count(connection, run)
    error = "; ".join(f"{failure.stage} of {failure.target}: {failure.error}" for failure in failures) or None
    _set_run(
        connection,
        run,
        state=state,
        error=None if error is None else storable(error),
        finished_at=database_seconds(),
    )
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STATE, data={"state": state})
    return []
