"""Which chunk follows which, and that it is decided once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.storage.catalog.filling import TENANT, curation, dataset, filled, finish, received, take

from cocu.errors import ConflictError
from cocu.storage.catalog import Catalog, chunks, curations, events, planning


def stages(planned: list[tuple[str, str]]) -> list[str]:
    return [stage for _, stage in planned]


def run_all(catalog: Catalog, planned: list[tuple[str, str]]) -> Counter[str]:
    """Finishes chunks until none follow; how many of each stage there were."""
    ran: Counter[str] = Counter()
    while planned:
        chunk_id, stage = planned.pop(0)
        planned += finish(catalog, chunk_id)
        ran[stage] += 1
    return ran


def state(catalog: Catalog, run: str) -> str:
    return curations.get(catalog, tenant=TENANT, curation_id=run).state


def test_stages_follow_each_other_and_the_last_chunk_of_each_plans_the_next(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"], ["b"], ["c"]))

    assert stages(list(created.chunks)) == ["embed"] * 3
    ran = run_all(catalog, list(created.chunks))
    assert ran == {"embed": 3, "index": 3, "neighbours": 3, "group": 1, "curate": 3, "publish": 1}
    assert state(catalog, created.curation.id) == "completed"


def test_the_last_two_chunks_finished_at_once_plan_the_next_stage_once(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, *([f"{number}"] for number in range(8))))
    with ThreadPoolExecutor(8) as pool:
        followed = pool.map(lambda one: finish(catalog, one[0]), created.chunks)
    planned = [one for some in followed for one in some]

    assert Counter(stages(planned)) == {"index": 8, "neighbours": 8}


def test_publish_waits_for_the_index_but_not_for_its_success(catalog: Catalog) -> None:
    planned = list(curation(catalog, filled(catalog, ["a"])).chunks)
    (index_id, _), (neighbours_id, _) = finish(catalog, planned[0][0])
    (group,) = finish(catalog, neighbours_id)
    (curate,) = finish(catalog, group[0])
    assert finish(catalog, curate[0]) == []

    assert take(catalog, index_id)
    followed = planning.give_up(
        catalog, chunk_id=index_id, owner="worker", error="away", retry=False, max_failures=3, retry_seconds=0
    )
    assert stages(followed) == ["publish"]
    run_all(catalog, followed)
    (run,) = curations.list_page(catalog, tenant=TENANT, limit=2).items
    assert (run.state, run.error) == ("completed", None)


def test_publish_waits_no_longer_once_an_index_has_failed_and_that_is_tried_again_for_ever(
    catalog: Catalog,
) -> None:
    planned = list(curation(catalog, filled(catalog, ["a"])).chunks)
    (index_id, _), (neighbours_id, _) = finish(catalog, planned[0][0])
    (group,) = finish(catalog, neighbours_id)
    (curate,) = finish(catalog, group[0])
    assert finish(catalog, curate[0]) == []

    away = {"owner": "worker", "error": "away", "retry": True, "max_failures": None, "retry_seconds": 0.0}
    assert take(catalog, index_id)
    followed = planning.give_up(catalog, chunk_id=index_id, **away)
    assert stages(followed) == ["publish"]
    run_all(catalog, followed)
    (run,) = curations.list_page(catalog, tenant=TENANT, limit=2).items
    assert (run.state, run.error) == ("completed", None)
    # The curation has ended, and nobody else asks for it: it is wanted all the same.
    for _ in range(30):
        assert take(catalog, index_id)
        assert planning.give_up(catalog, chunk_id=index_id, **away) == []
    assert finish(catalog, index_id) == []
    assert chunks.unfinished(catalog) == 0


def test_an_index_that_fails_before_the_curation_is_that_far_holds_nothing_up(catalog: Catalog) -> None:
    planned = list(curation(catalog, filled(catalog, ["a"], ["b"])).chunks)
    followed = [each for chunk_id, _ in planned for each in finish(catalog, chunk_id)]
    indexes = [chunk_id for chunk_id, stage in followed if stage == "index"]
    for chunk_id in indexes:
        assert take(catalog, chunk_id)
        told = {"owner": "worker", "error": "away", "retry": True, "max_failures": None}
        assert planning.give_up(catalog, chunk_id=chunk_id, **told, retry_seconds=60.0) == []
    ran = run_all(catalog, [each for each in followed if each[1] != "index"])
    assert ran == {"neighbours": 2, "group": 1, "curate": 2, "publish": 1}
    assert chunks.unfinished(catalog) == 2


def test_two_curations_share_what_depends_on_the_encoder_alone(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"], ["b"])
    first = curation(catalog, dataset_id, parameters="one")
    second = curation(catalog, dataset_id, parameters="other")

    assert set(first.chunks) == set(second.chunks)
    ran = run_all(catalog, list(first.chunks))
    assert ran == {"embed": 2, "index": 2, "neighbours": 4, "group": 2, "curate": 4, "publish": 2}
    assert state(catalog, first.curation.id) == state(catalog, second.curation.id) == "completed"
    other = curation(catalog, dataset_id, encoder="another")
    assert stages(list(other.chunks)) == ["embed", "embed"]


def test_asking_for_the_same_curation_changes_nothing(catalog: Catalog) -> None:
    dataset_id = filled(catalog, ["a"])
    first = curation(catalog, dataset_id)
    again = curation(catalog, dataset_id)

    assert first.new
    assert not again.new
    assert again.curation == first.curation
    assert len(events.since(catalog, tenant=TENANT, curation_id=first.curation.id)) == 1


def test_the_identity_of_a_curation_is_what_it_depends_on() -> None:
    given = {
        "dataset_id": "d",
        "snapshot": "s",
        "encoder_hash": "e",
        "vocabulary_hash": "v",
        "parameters_hash": "p",
    }
    ids = {curations.identity(**(given | {name: "other"})) for name in given}

    assert len(ids | {curations.identity(**given)}) == 6


def test_a_failed_chunk_is_tried_again_later_and_then_given_up(catalog: Catalog) -> None:
    dataset_id = dataset(catalog)
    _, chunk_id = received(catalog, dataset_id, "a.tar")
    told = {"chunk_id": chunk_id, "owner": "worker", "error": "no", "retry": True, "max_failures": 2}
    assert take(catalog, chunk_id)
    assert planning.give_up(catalog, **told, retry_seconds=60.0) == []
    assert not take(catalog, chunk_id)
    chunks.release_all(catalog)
    with catalog.write() as connection:
        chunks.restart(connection, chunk_id=chunk_id)
    for _ in range(2):
        assert take(catalog, chunk_id)
        planning.give_up(catalog, **told, retry_seconds=0.0)

    assert not take(catalog, chunk_id)
    with pytest.raises(ConflictError, match="no accepted samples"):
        curation(catalog, dataset_id)


def test_events_tell_the_story_in_order(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"]))
    run_all(catalog, list(created.chunks))
    told = events.since(catalog, tenant=TENANT, curation_id=created.curation.id)

    assert [one.id for one in told] == sorted({one.id for one in told})
    assert [one.data.get("state") or one.data["stage"] for one in told if one.kind != "progress"] == [
        "queued", "running", "neighbours", "group", "curate", "publish", "completed",
    ]  # fmt: skip
    later = events.since(catalog, tenant=TENANT, curation_id=created.curation.id, after=told[2].id, limit=2)
    assert later == told[3:5]


def test_a_cancelled_curation_plans_nothing_more(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a"], ["b"]))
    assert take(catalog, created.chunks[0][0])
    curations.cancel(catalog, tenant=TENANT, curation_id=created.curation.id)

    assert planning.finish(catalog, chunk_id=created.chunks[0][0], owner="worker") == []
    assert not take(catalog, created.chunks[1][0])
    assert chunks.unfinished(catalog) == 0
