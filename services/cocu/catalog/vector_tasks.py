"""Tasks of the vector store: closed where their work was done otherwise, begun anew where it was lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, insert, select, true, update

from cocu.catalog import datasets, models, tasks
from cocu.catalog.engine import Catalog
from cocu.catalog.records import storable
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import Stage, TaskState
from cocu.catalog.tasks import TaskRef
from cocu.catalog.vector_state import EmbeddedShard, IndexedDataset, PublishedArchives

IdleTasks = Mapping[str, float]
"""By the id of a task, when a worker last began it."""


@retry_on_outage
def idle_tasks(catalog: Catalog, shard: EmbeddedShard) -> IdleTasks:
    """The tasks that put this shard into the vector store, and that no worker is at."""
    statement = select(models.Task.id, models.Task.leased_at).where(
        models.Task.dataset_id == shard.dataset_id,
        models.Task.target == shard.shard_id,
        models.Task.stage.in_((Stage.INDEX, Stage.INDEX_CONCEPTS)),
        models.Task.state.not_in((TaskState.RUNNING, TaskState.DONE)),
    )
    with catalog.read() as connection:
        return {row.id: row.leased_at for row in connection.execute(statement)}


@retry_on_outage
def note_put(
    catalog: Catalog, shard: EmbeddedShard, archives: Collection[PublishedArchives], *, idle: IdleTasks
) -> None:
    """A shard is in the vector store with these archives, whatever has become of the tasks for that.

    idle: the `idle_tasks` before it was put there. One that a worker has begun since may have replaced what
    was put by less, and goes on; so does an `index` that never failed, as a curation may wait for its end.
    """
    index = _task_id(shard, shard.encoder_hash, Stage.INDEX)
    held_up_nobody = (models.Task.failures > 0) | (models.Task.state != TaskState.PENDING)
    with catalog.write() as connection:
        # Locked before any task, as everywhere.
        unchanged = _lock_unchanged(connection, shard, archives)
        _close_idle(connection, index, idle, held_up_nobody)
        for curation_id in unchanged:
            task_id = _task_id(shard, curation_id, Stage.INDEX_CONCEPTS)
            state = select(models.Task.state).where(models.Task.id == task_id)
            if connection.execute(state).scalar_one_or_none() is not None:
                _close_idle(connection, task_id, idle, true())
                continue
            # Published by a version that had no such stage, or planned in a moment.
            values = {"id": task_id, "tenant": shard.tenant, "dataset_id": shard.dataset_id}
            values |= {"owner_key": curation_id, "curation_id": curation_id, "target": shard.shard_id}
            values |= {"stage": Stage.INDEX_CONCEPTS, "state": TaskState.DONE}
            connection.execute(
                insert(models.Task).values(**values, units_total=shard.samples, units_done=shard.samples)
            )


def _lock_unchanged(
    connection: Connection, shard: EmbeddedShard, archives: Collection[PublishedArchives]
) -> list[str]:
    """The curations of which these are still the archives, locked."""
    statement = (
        select(models.Curation.id, models.CurationShard.content_hash)
        .join(models.CurationShard, models.CurationShard.curation_id == models.Curation.id)
        .where(
            models.Curation.id.in_([archive.curation_id for archive in archives]),
            models.Curation.content_hash.is_not(None),
            models.CurationShard.shard_id == shard.shard_id,
        )
        .order_by(models.Curation.id)
        .with_for_update(of=models.Curation, key_share=True)
    )
    put = {(archive.curation_id, archive.content_hash) for archive in archives}
    return [row.id for row in connection.execute(statement) if (row.id, row.content_hash) in put]


def _close_idle(connection: Connection, task_id: str, idle: IdleTasks, unless: ColumnElement[bool]) -> None:
    if task_id not in idle:
        return
    connection.execute(
        update(models.Task)
        .where(
            models.Task.id == task_id,
            models.Task.leased_at == idle[task_id],
            models.Task.state.not_in((TaskState.RUNNING, TaskState.DONE)),
            unless,
        )
        .values(state=TaskState.DONE, requested=False, error=None, units_done=models.Task.units_total)
    )


def _task_id(shard: EmbeddedShard, owner_key: str, stage: Stage) -> str:
    return tasks.identity(
        dataset_id=shard.dataset_id, owner_key=owner_key, stage=stage, target=shard.shard_id
    )


@retry_on_outage
def index_again(catalog: Catalog, dataset: IndexedDataset) -> list[TaskRef]:
    """The vector store has lost samples of this dataset: do `index` again on all its shards."""
    statement = select(models.Task.id).where(
        models.Task.dataset_id == dataset.dataset_id,
        models.Task.owner_key == dataset.encoder_hash,
        models.Task.stage == Stage.INDEX,
        models.Task.state == TaskState.DONE,
    )
    with catalog.write() as connection:
        datasets.lock(connection, dataset_id=dataset.dataset_id)
        task_ids = list(connection.execute(statement).scalars())
        for task_id in task_ids:
            tasks.restart(connection, task_id=task_id, requested=True)
        return [(task_id, Stage.INDEX) for task_id in task_ids]


@retry_on_outage
def note_left_out(catalog: Catalog, shard: EmbeddedShard, *, error: str) -> None:
    """This shard is not in the vector store, although its `index` may once have succeeded."""
    task_id = _task_id(shard, shard.encoder_hash, Stage.INDEX)
    with catalog.write() as connection:
        connection.execute(
            update(models.Task)
            .where(models.Task.id == task_id, models.Task.state == TaskState.DONE)
            .values(state=TaskState.FAILED, error=storable(error))
        )
