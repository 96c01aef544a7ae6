"""The counts that monitoring reads from a catalog."""

from __future__ import annotations

from sqlalchemy import update
from tests.catalog.catalog_fixtures import curation, dataset, filled, received, take

from cocu.catalog import Catalog, counts, models, tasks
from cocu.catalog.counts import TaskCount
from cocu.catalog.db_time import database_seconds
from cocu.pipeline import planner


def counted(catalog: Catalog, stage: str, state: str) -> TaskCount:
    by_state = {(count.stage, count.state): count for count in counts.collect(catalog).tasks}
    return by_state.get((stage, state), TaskCount(stage, state, 0, 0, 0, 0.0))


def test_empty_catalog__has_no_counts(catalog: Catalog) -> None:
    assert counts.collect(catalog) == counts.Counts((), {}, 0)


def test_tasks__are_counted_by_stage_and_state_with_their_samples(catalog: Catalog) -> None:
    task_refs = curation(catalog, filled(catalog, ["a", "b", "c"], ["d"])).tasks
    assert take(catalog, task_refs[0][0])
    collected = counts.collect(catalog)
    assert collected.samples == 4
    assert collected.curations == {"running": 1}
    running, pending = (counted(catalog, "embed", state) for state in ("running", "pending"))
    assert (running.tasks, pending.tasks) == (1, 1)
    assert running.samples + pending.samples == 4
    assert counted(catalog, "ingest", "done").tasks == 1


def test_repeats__are_attempts_beyond_the_first(catalog: Catalog) -> None:
    _, task_id = received(catalog, dataset(catalog), "a.tar")
    _, other = received(catalog, dataset(catalog, name="another"), "b.tar")
    for _ in range(3):
        assert take(catalog, task_id)
        again = {"retry": True, "max_failures": None, "retry_seconds": 0.0}
        planner.give_up(catalog, task_id=task_id, owner="worker", error="no", **again)
    assert take(catalog, other)
    assert take(catalog, task_id)
    assert counted(catalog, "ingest", "running").repeats == 3


def test_waiting__is_since_the_message_was_sent_and_only_of_tasks_that_may_run(catalog: Catalog) -> None:
    _, task_id = received(catalog, dataset(catalog), "a.tar")
    _, later = received(catalog, dataset(catalog, name="another"), "b.tar")
    assert counted(catalog, "ingest", "pending").waiting_seconds < 60

    def changed(which: str, **values: object) -> None:
        with catalog.write() as connection:
            connection.execute(update(models.Task).where(models.Task.id == which).values(values))

    changed(task_id, lease_until=database_seconds() - 100)
    changed(later, lease_until=0.0, not_before=database_seconds() + 1000)
    assert 100 <= counted(catalog, "ingest", "pending").waiting_seconds < 200
    changed(later, not_before=database_seconds() - 300)
    assert 300 <= counted(catalog, "ingest", "pending").waiting_seconds < 400
    tasks.release_all(catalog)
    assert take(catalog, task_id)
    assert counted(catalog, "ingest", "running").waiting_seconds == 0
