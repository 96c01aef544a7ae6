"""Leases and messages: who has a task, who is told of it, and what becomes of it when its worker stops."""

from __future__ import annotations

import threading

from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    collected,
    ingested,
    new_dataset,
    some_samples,
    wait_for,
    wait_for_ingest,
)

from cocu.catalog import curations, tasks
from cocu.pipeline import planner
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.lease import take
from cocu.pipeline.worker import run_task
from cocu.platform import Platform


def test_a_lease_keeps_others_away_until_it_ends(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (task_id, _) = queue.pop()

    def take(owner: str, seconds: float = 60.0) -> bool:
        taken = planner.take(
            platform.catalog, task_id=task_id, owner=owner, lease_seconds=seconds, max_lost_leases=20
        )
        return taken.task is not None

    assert take("first", seconds=60.0)
    assert not take("second")
    assert planner.renew(platform.catalog, task_id=task_id, owner="first", seconds=-1.0, units_done=0)
    assert take("second")
    assert not planner.renew(platform.catalog, task_id=task_id, owner="first", seconds=60.0, units_done=0)
    # The first one's late word changes nothing.
    assert planner.finish(platform.catalog, task_id=task_id, owner="first") == []
    assert tasks.unfinished(platform.catalog) == 1


def test_the_sweeper_finds_abandoned_and_forgotten_tasks(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (task_id, _) = queue.pop()
    assert tasks.sweep(platform.catalog) == []  # its message is trusted for a while

    planner.take(platform.catalog, task_id=task_id, owner="dies", lease_seconds=-1.0, max_lost_leases=20)
    assert tasks.sweep(platform.catalog) == [(task_id, "ingest")]
    assert tasks.sweep(platform.catalog) == []
    tasks.release_all(platform.catalog)
    assert tasks.sweep(platform.catalog) == [(task_id, "ingest")]


def test_messages_that_are_lost_lose_no_work(platform: Platform) -> None:
    platform.send_with(lambda task_refs: None)
    dataset_id = new_dataset(platform, some_samples(6))
    with EmbeddedWorkers(platform):
        wait_for_ingest(platform, dataset_id)
        platform.send_with(lambda task_refs: None)
        curation = begin(platform, dataset_id)
    with EmbeddedWorkers(platform) as workers:
        assert wait_for(platform, curation.id).state == "completed"
        assert workers.alive
    assert not workers.alive


def test_a_running_task_notices_that_it_was_cancelled(platform: Platform) -> None:
    queue = collected(platform)
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    task_id = queue[0][0]
    planner.take(platform.catalog, task_id=task_id, owner="me", lease_seconds=60.0, max_lost_leases=9)
    assert planner.renew(platform.catalog, task_id=task_id, owner="me", seconds=60.0, units_done=1)
    curations.cancel(platform.catalog, tenant=TENANT, curation_id=curation.id)

    assert not planner.renew(platform.catalog, task_id=task_id, owner="me", seconds=60.0, units_done=1)


def test_a_worker_that_stops_hands_its_task_back(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (task,) = queue
    stopping = threading.Event()
    lease = take(platform, task[0], stopping=stopping)
    assert lease is not None
    with lease:
        stopping.set()
        lease.advance()

    assert queue == [task, task]  # sent to others at once
    assert tasks.sweep(platform.catalog) == [task]
    with platform.catalog.read() as connection:
        record = tasks.get(connection, task_id=task[0])
    assert record is not None
    assert (record.attempts, record.failures) == (0, 0)


def test_a_worker_that_stops_begins_nothing(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    stopping = threading.Event()
    stopping.set()
    run_task(platform, queue[0][0], stopping=stopping)

    with platform.catalog.read() as connection:
        record = tasks.get(connection, task_id=queue[0][0])
    assert record is not None
    assert record.state == "pending"


def test_a_task_that_waits_behind_others_is_not_sent_again(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))

    assert tasks.sweep(platform.catalog, queued=["ingest"], resend_seconds=-1.0) == []
    assert tasks.sweep(platform.catalog, queued=["embed"], resend_seconds=-1.0) == queue
