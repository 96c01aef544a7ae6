"""Which tasks of the vector store count as done, and what that says of a curation."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update
from tests.catalog.catalog_fixtures import curation, filled, finish, take

from cocu.catalog import Catalog, curations, models, tasks, vector_state, vector_tasks
from cocu.catalog.curations import CurationRecord
from cocu.catalog.states import Stage, TaskState
from cocu.catalog.tasks import TaskRecord
from cocu.catalog.vector_state import EmbeddedShard, PublishedArchives
from cocu.pipeline import planner

CONCEPTS = Stage.INDEX_CONCEPTS


def completed(catalog: Catalog, dataset_id: str, parameters: str = "one") -> tuple[CurationRecord, list[str]]:
    """A published curation, and its tasks that put archives into the store."""
    created = curation(catalog, dataset_id, parameters=parameters)
    task_refs, concepts = list(created.tasks), []
    while task_refs:
        task_id, stage = task_refs.pop(0)
        if stage == CONCEPTS:
            concepts.append(task_id)
            continue
        if stage == Stage.PUBLISH:
            for shard in curations.shards(catalog, curation_id=created.curation.id):
                curations.store_archives_hash(
                    catalog, curation_id=created.curation.id, shard_id=shard.shard_id, content_hash="archives"
                )
            curations.store_result(
                catalog, curation_id=created.curation.id, content_hash="all", statistics={}
            )
        task_refs += finish(catalog, task_id)
    return curations.of_task(catalog, curation_id=created.curation.id), concepts


def has_concepts(catalog: Catalog, run: CurationRecord) -> bool:
    return vector_state.has_concepts(catalog, curation_id=run.id)


def task(catalog: Catalog, task_id: str) -> TaskRecord:
    with catalog.read() as connection:
        found = tasks.get(connection, task_id=task_id)
    assert found is not None
    return found


def fail(catalog: Catalog, task_id: str, *, retry: bool = False) -> None:
    assert take(catalog, task_id)
    planner.give_up(
        catalog,
        task_id=task_id,
        owner="worker",
        error="no",
        retry=retry,
        max_failures=None,
        retry_seconds=0.0,
    )


def shard_of(catalog: Catalog, task_id: str) -> EmbeddedShard:
    """The shard that one of these tasks is about."""
    target = task(catalog, task_id).target
    return next(shard for shard in vector_state.embedded(catalog) if shard.shard_id == target)


def archives(catalog: Catalog, shard: EmbeddedShard) -> list[PublishedArchives]:
    return vector_state.archived_by(
        catalog, dataset_id=shard.dataset_id, encoder_hash=shard.encoder_hash, shard_id=shard.shard_id
    )


def test_a_curation_has_its_concepts_when_every_shard_was_put_there(catalog: Catalog) -> None:
    run, (first, second) = completed(catalog, filled(catalog, ["a"], ["b"]))
    assert not has_concepts(catalog, run)
    finish(catalog, first)
    assert not has_concepts(catalog, run)
    finish(catalog, second)
    assert has_concepts(catalog, run)
    (dataset,) = vector_state.indexed_datasets(catalog)
    assert (dataset.samples, dataset.unfinished) == (2, False)
    assert len(vector_tasks.index_again(catalog, dataset)) == 2
    assert not has_concepts(catalog, run)
    (dataset,) = vector_state.indexed_datasets(catalog)
    assert (dataset.samples, dataset.unfinished) == (0, True)


def test_another_curation_that_is_being_put_there_may_take_away_what_is_there(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    run, (own,) = completed(catalog, dataset_id)
    finish(catalog, own)
    other, (task_id,) = completed(catalog, dataset_id, "other")
    assert not has_concepts(catalog, run)
    fail(catalog, task_id, retry=True)
    assert not has_concepts(catalog, run)
    fail(catalog, task_id)
    assert not has_concepts(catalog, run)
    with catalog.write() as connection:
        tasks.restart(connection, task_id=task_id, requested=True)
    # It could not read its own files, before it wrote anything.
    fail(catalog, task_id)
    assert has_concepts(catalog, run)
    assert not has_concepts(catalog, other)


def test_who_has_put_a_shard_there_spares_others_the_work(catalog: Catalog) -> None:
    run, (own, later) = completed(catalog, filled(catalog, ["a"], ["b"]))
    shard = shard_of(catalog, own)
    idle = vector_tasks.idle_tasks(catalog, shard)
    assert set(idle) == {own}
    vector_tasks.note_put(catalog, shard, archives(catalog, shard), idle=idle)
    assert task(catalog, own).state == TaskState.DONE
    assert task(catalog, later).state == TaskState.PENDING
    assert not take(catalog, own)
    finish(catalog, later)
    assert has_concepts(catalog, run)


@pytest.mark.parametrize("began", ["before", "meanwhile", "and failed meanwhile"])
def test_what_a_worker_is_at_or_was_at_meanwhile_is_left_to_it(catalog: Catalog, began: str) -> None:
    _, (own,) = completed(catalog, filled(catalog, ["a"]))
    shard = shard_of(catalog, own)
    if began == "before":
        assert take(catalog, own)
    idle = vector_tasks.idle_tasks(catalog, shard)
    if began == "meanwhile":
        assert take(catalog, own)
    elif began == "and failed meanwhile":
        fail(catalog, own, retry=True)
    vector_tasks.note_put(catalog, shard, archives(catalog, shard), idle=idle)
    assert task(catalog, own).state == (
        TaskState.PENDING if began == "and failed meanwhile" else TaskState.RUNNING
    )


def test_curations_of_an_earlier_version_get_tasks_that_are_done(catalog: Catalog) -> None:
    run, (own,) = completed(catalog, filled(catalog, ["a"]))
    shard = shard_of(catalog, own)
    with catalog.write() as connection:
        connection.execute(delete(models.Task).where(models.Task.stage == CONCEPTS))
    put = archives(catalog, shard)
    changed = [PublishedArchives(one.curation_id, one.vocabulary_hash, "of before") for one in put]
    vector_tasks.note_put(catalog, shard, changed, idle={})
    assert not has_concepts(catalog, run)
    for _ in range(2):
        vector_tasks.note_put(catalog, shard, put, idle={})
        assert has_concepts(catalog, run)


def test_an_index_that_a_curation_may_wait_for_is_left_alone(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"]))
    followed = finish(catalog, created.tasks[0][0])
    (index,) = [task_id for task_id, stage in followed if stage == Stage.INDEX]
    shard = shard_of(catalog, index)
    vector_tasks.note_put(catalog, shard, [], idle=vector_tasks.idle_tasks(catalog, shard))
    assert task(catalog, index).state == TaskState.PENDING
    with catalog.write() as connection:
        connection.execute(update(models.Task).where(models.Task.id == index).values(failures=1))
    vector_tasks.note_put(catalog, shard, [], idle=vector_tasks.idle_tasks(catalog, shard))
    assert task(catalog, index).state == TaskState.DONE
    vector_tasks.note_left_out(catalog, shard, error="gone")
    assert task(catalog, index).state == TaskState.FAILED
