"""Archives in the vector store: put there after a run, whatever happens meanwhile; nobody waits for it."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select, update
from tests.pipeline.damage import flip
from tests.pipeline.indexed_archives import assert_indexed, in_files, in_store, interrupted, named
from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    collected,
    drain,
    ingested,
    run_now,
    state_of,
)

from cocu.catalog import models, tasks, vector_state
from cocu.catalog.curations import CurationRecord
from cocu.catalog.states import Stage
from cocu.errors import RefusedError, UnavailableError
from cocu.pipeline import reindex, submit
from cocu.platform import Platform
from cocu.storage import paths


def run_until(platform: Platform, curation: CurationRecord, queue: list[tuple[str, str]]) -> list[str]:
    """Run everything but the last stage of all; the tasks of that."""
    last: list[str] = []
    while queue:
        task_id, stage = queue.pop(0)
        if stage == Stage.INDEX_CONCEPTS:
            last.append(task_id)
        else:
            run_now(platform, task_id)
    assert state_of(platform, curation).state == "completed"
    return last


def published(platform: Platform, dataset_id: str, **changes: object) -> tuple[CurationRecord, list[str]]:
    """A completed curation, and the tasks that are to put its archives into the store."""
    queue = collected(platform)
    curation = begin(platform, dataset_id, **changes)
    return state_of(platform, curation), run_until(platform, curation, queue)


def tasks_of(platform: Platform, stage: str) -> list[tuple[str, int]]:
    """(state, attempts) of all tasks of a stage."""
    statement = select(models.Task.state, models.Task.attempts).where(models.Task.stage == stage)
    with platform.catalog.read() as connection:
        return [(row.state, row.attempts) for row in connection.execute(statement)]


def has_concepts(platform: Platform, curation: CurationRecord) -> bool:
    return vector_state.has_concepts(platform.catalog, curation_id=curation.id)


def test_a_run_ends_before_its_archives_are_in_the_store(platform: Platform) -> None:
    curation, last = published(platform, ingested(platform))
    assert len(last) == 2
    assert not has_concepts(platform, curation)
    assert not any(in_store(platform, curation).values())
    for task_id in last:
        run_now(platform, task_id)
    assert_indexed(platform, curation)


@pytest.mark.parametrize("error", [UnavailableError("away"), RefusedError("not so")])
def test_it_is_tried_until_it_succeeds(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    curation, _ = published(platform, ingested(platform))
    upsert, calls = platform.vectors.upsert_samples, iter(range(100))
    complete: list[bool] = []

    def failing(**arguments: object) -> None:
        # After the first shard, and far more often than the tasks of a run may fail.
        if 0 < next(calls) < 14:
            complete.append(has_concepts(platform, curation))
            raise error
        upsert(**arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(platform.vectors, "upsert_samples", failing)
        patch.setattr(platform, "settings", platform.settings.model_copy(update={"retry_seconds": 1e-6}))
        drain(platform)
    assert complete == [False] * 13
    assert_indexed(platform, curation)
    assert {state for state, _ in tasks_of(platform, Stage.INDEX_CONCEPTS)} == {"done"}


def test_of_two_curations_at_once_none_takes_away_what_the_other_has_put(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = ingested(platform)
    first, (begun, later) = published(platform, dataset_id)
    others: list[CurationRecord] = []

    def meanwhile() -> None:
        second, last = published(platform, dataset_id, neighbours=2)
        for task_id in last:
            run_now(platform, task_id)
        others.append(second)
        # They are there, but the first one is about to write what it had read before.
        assert in_store(platform, second) == in_files(platform, second)
        assert not has_concepts(platform, second)

    with monkeypatch.context() as patch:
        patch.setattr(platform.vectors, "upsert_samples", interrupted(platform, after=0, by=meanwhile))
        run_now(platform, begun)
    assert in_store(platform, others[0]) == in_files(platform, others[0])
    run_now(platform, later)
    assert_indexed(platform, first, others[0])


def test_what_is_published_while_a_shard_is_indexed_again_stays(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = ingested(platform)
    first, _ = published(platform, dataset_id)
    drain(platform)
    others: list[CurationRecord] = []

    def meanwhile() -> None:
        second, last = published(platform, dataset_id, neighbours=2)
        for task_id in last:
            run_now(platform, task_id)
        others.append(second)

    (dataset,) = vector_state.indexed_datasets(platform.catalog)
    statement = select(models.Task.id).where(models.Task.stage == Stage.INDEX)
    with platform.catalog.write() as connection:
        task_ids = list(connection.execute(statement).scalars())
        for task_id in task_ids:
            tasks.restart(connection, task_id=task_id, requested=True)
        # Else the other curation would wait for them before it is published.
        connection.execute(update(models.Task).where(models.Task.id.in_(task_ids)).values(failures=1))
    assert dataset.samples == 8
    with monkeypatch.context() as patch:
        patch.setattr(platform.vectors, "upsert_samples", interrupted(platform, after=0, by=meanwhile))
        for task_id in task_ids:
            run_now(platform, task_id)
    assert_indexed(platform, first, others[0])


def test_a_worker_that_stops_in_the_middle_leaves_the_rest_to_another(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    curation, (task_id, _) = published(platform, ingested(platform))

    def killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(platform.vectors, "upsert_samples", interrupted(platform, after=0, by=killed))
        with pytest.raises(KeyboardInterrupt):
            run_now(platform, task_id)
    assert not has_concepts(platform, curation)
    drain(platform)
    assert_indexed(platform, curation)


def test_damaged_archives_keep_no_others_out(platform: Platform) -> None:
    dataset_id = ingested(platform)
    whole, _ = published(platform, dataset_id)
    damaged, _ = published(platform, dataset_id, neighbours=2)
    shard_id = vector_state.embedded(platform.catalog)[0].shard_id
    for path in [path for path in platform.objects.list() if f"/{damaged.id}/indexes/" in path]:
        platform.objects.delete(path)
    flip(platform, paths.archives(damaged.id, shard_id))
    drain(platform)
    assert_indexed(platform, whole)
    assert not has_concepts(platform, damaged)
    states = tasks_of(platform, Stage.INDEX_CONCEPTS)
    assert sorted(state for state, _ in states) == ["done", "done", "done", "failed"]
    assert ("failed", 1) in states
    # The samples themselves are found, also by what is whole of the other curation.
    assert platform.vectors.count(**named(damaged)) == 8


def test_curations_of_an_earlier_version_are_put_there_by_a_rebuild(platform: Platform) -> None:
    curation, _ = published(platform, ingested(platform))
    with platform.catalog.write() as connection:
        connection.execute(delete(models.Task).where(models.Task.stage == Stage.INDEX_CONCEPTS))
    drain(platform)
    assert not has_concepts(platform, curation)
    ((encoder, shards),) = reindex.shards_by_encoder(platform).items()
    reindex.rebuild_encoder(platform, shards, encoder_hash=encoder, advance=lambda *_: None)
    assert_indexed(platform, curation)
    assert tasks.unfinished(platform.catalog) == 0


def test_a_deleted_dataset_needs_none_of_it(platform: Platform) -> None:
    dataset_id = ingested(platform)
    curation, last = published(platform, dataset_id)
    submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    run_now(platform, last[0])
    drain(platform)
    assert platform.vectors.count(**named(curation)) == 0
    assert tasks_of(platform, Stage.INDEX_CONCEPTS) == []
