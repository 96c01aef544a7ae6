"""Which task follows which, and that it is decided once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.catalog.catalog_fixtures import TENANT, curation, dataset, filled, finish, received, take

from cocu.catalog import Catalog, curations, events, tasks
from cocu.errors import ConflictError
from cocu.pipeline import planner, speed, submit


def stages(task_refs: list[tuple[str, str]]) -> list[str]:
    return [stage for _, stage in task_refs]


def run_all(catalog: Catalog, task_refs: list[tuple[str, str]]) -> Counter[str]:
    """Finishes tasks until none follow; how many of each stage there were."""
    ran: Counter[str] = Counter()
    while task_refs:
        task_id, stage = task_refs.pop(0)
        task_refs += finish(catalog, task_id)
        ran[stage] += 1
    return ran


def state(catalog: Catalog, run: str) -> str:
    return curations.get(catalog, tenant=TENANT, curation_id=run).state


def test_stages_follow_each_other_and_the_last_task_of_each_plans_the_next(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"], ["b"], ["c"]))

    assert stages(list(created.tasks)) == ["embed"] * 3
    ran = run_all(catalog, list(created.tasks))
    assert ran == {
        "embed": 3,
        "index": 3,
        "neighbours": 3,
        "aggregate": 1,
        "curate": 3,
        "publish": 1,
        "index_concepts": 3,
    }
    assert state(catalog, created.curation.id) == "completed"


def test_the_last_two_tasks_finished_at_once_plan_the_next_stage_once(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, *([f"{number}"] for number in range(8))))
    with ThreadPoolExecutor(8) as pool:
        followed = pool.map(lambda task: finish(catalog, task[0]), created.tasks)
    task_refs = [task for tasks_of_one in followed for task in tasks_of_one]

    assert Counter(stages(task_refs)) == {"index": 8, "neighbours": 8}


def test_publish_waits_for_the_index_but_not_for_its_success(catalog: Catalog) -> None:
    task_refs = list(curation(catalog, filled(catalog, ["a"])).tasks)
    (index_id, _), (neighbours_id, _) = finish(catalog, task_refs[0][0])
    (group,) = finish(catalog, neighbours_id)
    (curate,) = finish(catalog, group[0])
    assert finish(catalog, curate[0]) == []

    assert take(catalog, index_id)
    followed = planner.give_up(
        catalog, task_id=index_id, owner="worker", error="away", retry=False, max_failures=3, retry_seconds=0
    )
    assert stages(followed) == ["publish"]
    run_all(catalog, followed)
    (run,) = curations.list_page(catalog, tenant=TENANT, limit=2).items
    assert (run.state, run.error) == ("completed", None)


def test_publish_waits_no_longer_once_an_index_has_failed_and_that_is_tried_again_for_ever(
    catalog: Catalog,
) -> None:
    task_refs = list(curation(catalog, filled(catalog, ["a"])).tasks)
    (index_id, _), (neighbours_id, _) = finish(catalog, task_refs[0][0])
    (group,) = finish(catalog, neighbours_id)
    (curate,) = finish(catalog, group[0])
    assert finish(catalog, curate[0]) == []

    away = {"owner": "worker", "error": "away", "retry": True, "max_failures": None, "retry_seconds": 0.0}
    assert take(catalog, index_id)
    followed = planner.give_up(catalog, task_id=index_id, **away)
    assert stages(followed) == ["publish"]
    run_all(catalog, followed)
    (run,) = curations.list_page(catalog, tenant=TENANT, limit=2).items
    assert (run.state, run.error) == ("completed", None)
    # The curation has ended, and nobody else asks for it: it is wanted all the same.
    for _ in range(30):
        assert take(catalog, index_id)
        assert planner.give_up(catalog, task_id=index_id, **away) == []
    assert finish(catalog, index_id) == []
    assert tasks.unfinished(catalog) == 0


def test_an_index_that_fails_early_does_not_hold_up_the_curation(catalog: Catalog) -> None:
    task_refs = list(curation(catalog, filled(catalog, ["a"], ["b"])).tasks)
    followed = [task for task_id, _ in task_refs for task in finish(catalog, task_id)]
    indexes = [task_id for task_id, stage in followed if stage == "index"]
    for task_id in indexes:
        assert take(catalog, task_id)
        told = {"owner": "worker", "error": "away", "retry": True, "max_failures": None}
        assert planner.give_up(catalog, task_id=task_id, **told, retry_seconds=60.0) == []
    ran = run_all(catalog, [task for task in followed if task[1] != "index"])
    assert ran == {"neighbours": 2, "aggregate": 1, "curate": 2, "publish": 1, "index_concepts": 2}
    assert tasks.unfinished(catalog) == 2


def test_two_curations_share_what_depends_on_the_encoder_alone(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"], ["b"])
    first = curation(catalog, dataset_id, parameters="one")
    second = curation(catalog, dataset_id, parameters="other")

    assert set(first.tasks) == set(second.tasks)
    ran = run_all(catalog, list(first.tasks))
    assert ran == {
        "embed": 2,
        "index": 2,
        "neighbours": 4,
        "aggregate": 2,
        "curate": 4,
        "publish": 2,
        "index_concepts": 4,
    }
    assert state(catalog, first.curation.id) == state(catalog, second.curation.id) == "completed"
    other = curation(catalog, dataset_id, encoder="another")
    assert stages(list(other.tasks)) == ["embed", "embed"]


def test_asking_for_the_same_curation_changes_nothing(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    first = curation(catalog, dataset_id)
    again = curation(catalog, dataset_id)

    assert first.new
    assert not again.new
    assert again.curation == first.curation
    assert len(events.since(catalog, tenant=TENANT, curation_id=first.curation.id)) == 1


def test_the_identity_of_a_curation_is_what_it_depends_on() -> None:
    arguments = {
        "dataset_id": "d",
        "snapshot": "s",
        "encoder_hash": "e",
        "vocabulary_hash": "v",
        "parameters_hash": "p",
    }
    ids = {submit.identity(**(arguments | {name: "other"})) for name in arguments}

    assert len(ids | {submit.identity(**arguments)}) == 6


def test_a_failed_task_is_tried_again_later_and_then_given_up(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    _, task_id = received(catalog, dataset_id, "a.tar")
    told = {"task_id": task_id, "owner": "worker", "error": "no", "retry": True, "max_failures": 2}
    assert take(catalog, task_id)
    assert planner.give_up(catalog, **told, retry_seconds=60.0) == []
    assert not take(catalog, task_id)
    tasks.release_all(catalog)
    with catalog.write() as connection:
        tasks.restart(connection, task_id=task_id)
    for _ in range(2):
        assert take(catalog, task_id)
        planner.give_up(catalog, **told, retry_seconds=0.0)

    assert not take(catalog, task_id)
    with pytest.raises(ConflictError, match="no accepted samples"):
        curation(catalog, dataset_id)


def test_events_tell_the_story_in_order(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"]))
    run_all(catalog, list(created.tasks))
    stored = events.since(catalog, tenant=TENANT, curation_id=created.curation.id)

    others = [event for event in stored if event.kind != "progress"]
    assert [event.id for event in stored] == sorted({event.id for event in stored})
    assert [event.data.get("state") or event.data["stage"] for event in others] == [
        "queued", "running", "neighbours", "aggregate", "curate", "publish", "completed",
    ]  # fmt: skip
    later = events.since(catalog, tenant=TENANT, curation_id=created.curation.id, after=stored[2].id, limit=2)
    assert later == stored[3:5]


def test_progress_is_told_once_a_second_and_at_the_end_of_a_stage(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of many shards must not count its tasks after every one of them."""
    monkeypatch.setattr(speed, "EVENT_SECONDS", 3_600.0)
    created = curation(catalog, filled(catalog, *([f"{number}"] for number in range(5))))
    run_all(catalog, list(created.tasks))
    stored = events.since(catalog, tenant=TENANT, curation_id=created.curation.id)

    progress = [event.data for event in stored if event.kind == "progress"]
    assert [(data["stage"], data["done"]) for data in progress] == [
        ("embed", 1), ("embed", 5), ("index", 5), ("neighbours", 5), ("aggregate", 1), ("curate", 5),
        ("publish", 1),
    ]  # fmt: skip


def test_a_cancelled_curation_plans_nothing_more(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"], ["b"]))
    assert take(catalog, created.tasks[0][0])
    curations.cancel(catalog, tenant=TENANT, curation_id=created.curation.id)

    assert planner.finish(catalog, task_id=created.tasks[0][0], owner="worker") == []
    assert not take(catalog, created.tasks[1][0])
    assert tasks.unfinished(catalog) == 0
