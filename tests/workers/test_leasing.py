"""Leases and messages: who has a chunk, who is told of it, and what becomes of it when its worker stops."""

from __future__ import annotations

import threading

from tests.workers.driving import (
    TENANT,
    begin,
    collected,
    ingested,
    new_dataset,
    some_samples,
    wait_for,
    wait_for_ingest,
)

from cocu.platform import Platform
from cocu.storage.catalog import chunks, curations, planning
from cocu.workers.embedded import EmbeddedWorkers
from cocu.workers.leases import take
from cocu.workers.stages import run_chunk


def test_a_lease_keeps_others_away_until_it_ends(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (chunk_id, _) = queue.pop()

    def take(owner: str, seconds: float = 60.0) -> bool:
        taken = planning.take(
            platform.catalog, chunk_id=chunk_id, owner=owner, lease_seconds=seconds, max_lost_leases=20
        )
        return taken.chunk is not None

    assert take("first", seconds=60.0)
    assert not take("second")
    assert chunks.renew(platform.catalog, chunk_id=chunk_id, owner="first", seconds=-1.0, units_done=0)
    assert take("second")
    assert not chunks.renew(platform.catalog, chunk_id=chunk_id, owner="first", seconds=60.0, units_done=0)
    # The first one's late word changes nothing.
    assert planning.finish(platform.catalog, chunk_id=chunk_id, owner="first") == []
    assert chunks.unfinished(platform.catalog) == 1


def test_the_sweeper_finds_abandoned_and_forgotten_chunks(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (chunk_id, _) = queue.pop()
    assert chunks.sweep(platform.catalog) == []  # its message is trusted for a while

    planning.take(platform.catalog, chunk_id=chunk_id, owner="dies", lease_seconds=-1.0, max_lost_leases=20)
    assert chunks.sweep(platform.catalog) == [(chunk_id, "ingest")]
    assert chunks.sweep(platform.catalog) == []
    chunks.release_all(platform.catalog)
    assert chunks.sweep(platform.catalog) == [(chunk_id, "ingest")]


def test_messages_that_are_lost_lose_no_work(platform: Platform) -> None:
    platform.send_with(lambda planned: None)
    dataset_id = new_dataset(platform, some_samples(6))
    with EmbeddedWorkers(platform):
        wait_for_ingest(platform, dataset_id)
        platform.send_with(lambda planned: None)
        curation = begin(platform, dataset_id)
    with EmbeddedWorkers(platform) as workers:
        assert wait_for(platform, curation.id).state == "completed"
        assert workers.alive
    assert not workers.alive


def test_a_running_chunk_notices_that_it_was_cancelled(platform: Platform) -> None:
    queue = collected(platform)
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    chunk_id = queue[0][0]
    planning.take(platform.catalog, chunk_id=chunk_id, owner="me", lease_seconds=60.0, max_lost_leases=9)
    assert chunks.renew(platform.catalog, chunk_id=chunk_id, owner="me", seconds=60.0, units_done=1)
    curations.cancel(platform.catalog, tenant=TENANT, curation_id=curation.id)

    assert not chunks.renew(platform.catalog, chunk_id=chunk_id, owner="me", seconds=60.0, units_done=1)


def test_a_worker_that_stops_hands_its_chunk_back(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (chunk,) = queue
    stopping = threading.Event()
    lease = take(platform, chunk[0], stopping=stopping)
    assert lease is not None
    with lease:
        stopping.set()
        lease.advance()

    assert queue == [chunk, chunk]  # told to others at once
    assert chunks.sweep(platform.catalog) == [chunk]
    with platform.catalog.read() as connection:
        found = chunks.get(connection, chunk_id=chunk[0])
    assert found is not None
    assert (found.attempts, found.failures) == (0, 0)


def test_a_worker_that_stops_begins_nothing(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    stopping = threading.Event()
    stopping.set()
    run_chunk(platform, queue[0][0], stopping=stopping)

    with platform.catalog.read() as connection:
        found = chunks.get(connection, chunk_id=queue[0][0])
    assert found is not None
    assert found.state == "pending"


def test_a_chunk_that_waits_behind_others_is_not_sent_again(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))

    assert chunks.sweep(platform.catalog, queued=["ingest"], resend_seconds=-1.0) == []
    assert chunks.sweep(platform.catalog, queued=["embed"], resend_seconds=-1.0) == queue
