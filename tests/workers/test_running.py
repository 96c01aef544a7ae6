"""Leases, failures, cancellation, deletion: what happens to chunks when things do not go straight."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.workers.driving import (
    TENANT,
    archives_of,
    begin,
    drain,
    dumped,
    new_dataset,
    settings,
    some_samples,
    state_of,
    wait_for,
    wait_for_ingest,
)
from tests.workers.tiny_encoder import write_tiny_encoder

from cocu.errors import ConflictError, NotFoundError, UnavailableError
from cocu.platform import Planned, Platform
from cocu.storage import paths
from cocu.storage.catalog import (
    chunks,
    curations,
    datasets,
    planning,
    progress,
    samples,
    uploads,
    vocabularies,
)
from cocu.storage.catalog.curations import CurationRecord
from cocu.workers.embedded import EmbeddedWorkers
from cocu.workers.leases import take
from cocu.workers.stages import run_chunk


def ingested(platform: Platform, count: int = 8, **changes: int) -> str:
    dataset_id = new_dataset(platform, some_samples(count // 2), some_samples(count // 2, first=count // 2))
    drain(platform)
    return dataset_id


def files_of(platform: Platform) -> dict[str, bytes]:
    return {path: platform.objects.get(path) for path in platform.objects.list()}


def collected(platform: Platform) -> list[Planned]:
    queue: list[Planned] = []
    platform.send_with(queue.extend)
    return queue


def run_now(platform: Platform, chunk_id: str) -> None:
    run_chunk(platform, chunk_id, stopping=threading.Event())


def test_every_chunk_delivered_four_times_at_once_changes_nothing(
    platform: Platform, tmp_path: Path, encoders: Path
) -> None:
    with Platform.open(settings(tmp_path / "single", encoders)) as single:
        expected = run_to_the_end(single, times=1)
    outcome = run_to_the_end(platform, times=4)

    assert outcome == expected


def run_to_the_end(platform: Platform, *, times: int) -> tuple[str | None, str]:
    queue = collected(platform)
    dataset_id = new_dataset(
        platform, some_samples(10), {"00003": some_samples(1)["00000"]} | some_samples(5, first=10)
    )
    with ThreadPoolExecutor(times) as pool:

        def run_all() -> None:
            while queue:
                chunk_id, _ = queue.pop(0)
                list(pool.map(run_now, [platform] * times, [chunk_id] * times))

        run_all()
        curation = begin(platform, dataset_id)
        run_all()
    done = state_of(platform, curation)
    assert done.state == "completed"
    counts = [
        upload.accepted
        for upload in uploads.list_page(platform.catalog, tenant=TENANT, dataset_id=dataset_id, limit=9).items
    ]
    return done.content_hash, dumped([archives_of(platform, done), done.statistics, counts])


def test_a_finished_chunk_run_again_writes_the_same_files(platform: Platform) -> None:
    queue = collected(platform)
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    ran: list[str] = []
    while queue:
        chunk_id, stage = queue.pop(0)
        run_now(platform, chunk_id)
        # The vector store is a copy of the files.
        ran += [chunk_id] if stage != "index" else []
    before, hash_before = files_of(platform), state_of(platform, curation).content_hash
    for chunk_id in ran:
        with platform.catalog.write() as connection:
            chunks.restart(connection, chunk_id=chunk_id)
        # The run has ended, so nobody wants the chunk: it is as if its worker had woken up too late.
        run_now(platform, chunk_id)

    assert files_of(platform) == before
    assert state_of(platform, curation).content_hash == hash_before


def test_a_shard_that_always_fails_ends_the_run_with_errors(platform: Platform) -> None:
    dataset_id = ingested(platform)
    listed = curations_shards(platform, dataset_id)
    # Its tar is gone: however often it is tried, it cannot be embedded.
    platform.objects.delete(paths.shard(dataset_id, listed[0]))
    curation = begin(platform, dataset_id)
    drain(platform)

    done = state_of(platform, curation)
    assert done.state == "completed_with_errors"
    assert done.error is not None
    assert listed[0] in done.error
    (failure,) = progress.failures(platform.catalog, curation_id=curation.id)
    assert (failure.stage, failure.subject) == ("embed", listed[0])
    archives = archives_of(platform, curation)
    assert sorted(archives) == ["00004", "00005", "00006", "00007"]
    # Rows 0..3 are the lost shard's: they are numbered, but nobody's neighbours.
    assert {row for one in archives.values() for row in one["neighbours"]} <= {4, 5, 6, 7}


def test_a_run_with_errors_is_mended_by_asking_again(platform: Platform) -> None:
    dataset_id = ingested(platform)
    lost = paths.shard(dataset_id, curations_shards(platform, dataset_id)[0])
    content = platform.objects.get(lost)
    platform.objects.delete(lost)
    curation = begin(platform, dataset_id)
    drain(platform)
    platform.objects.put(lost, content)

    again = begin(platform, dataset_id)
    assert (again.id, again.state) == (curation.id, "queued")
    drain(platform)
    done = state_of(platform, curation)
    assert (done.state, done.error) == ("completed", None)
    assert len(archives_of(platform, curation)) == 8


def test_a_run_without_any_good_shard_fails(platform: Platform) -> None:
    dataset_id = ingested(platform)
    for shard_id in curations_shards(platform, dataset_id):
        platform.objects.delete(paths.shard(dataset_id, shard_id))
    curation = begin(platform, dataset_id)
    drain(platform)

    assert state_of(platform, curation).state == "failed"
    assert "embed of" in str(state_of(platform, curation).error)


def curations_shards(platform: Platform, dataset_id: str) -> list[str]:
    return [shard.id for shard in samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)]


def test_another_encoder_in_mid_run_is_refused(platform: Platform, encoders: Path) -> None:
    dataset_id = ingested(platform)
    curation = begin(platform, dataset_id)
    shutil.rmtree(encoders / "tiny")
    write_tiny_encoder(encoders / "tiny", seed=8)
    drain(platform)

    done = state_of(platform, curation)
    assert done.state == "failed"
    assert "not the one this work began with" in str(done.error)
    # It is hopeless, so it was not tried twice.
    (failure, _) = progress.failures(platform.catalog, curation_id=curation.id)
    with platform.catalog.read() as connection:
        chunk = chunks.get(
            connection,
            chunk_id=chunks.identity(
                dataset_id=dataset_id,
                scope=curation.encoder_hash,
                stage=failure.stage,
                subject=failure.subject,
            ),
        )
    assert chunk is not None
    assert (chunk.attempts, chunk.failures) == (1, 1)


def test_another_vocabulary_under_the_same_hash_is_refused(platform: Platform) -> None:
    dataset_id = ingested(platform)
    curation = begin(platform, dataset_id)
    record = vocabularies.get(platform.catalog, tenant=TENANT, vocabulary=curation.vocabulary_id)
    path = paths.vocabulary(record.hash)
    platform.objects.put(path, platform.objects.get(path).replace(b'"dog"', b'"dot"'))
    drain(platform)

    assert state_of(platform, curation).state == "failed"
    assert "has hash" in str(state_of(platform, curation).error)


def test_a_chunk_that_loses_its_workers_is_given_up(platform: Platform) -> None:
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    (poison, _), *_ = queue
    for _ in range(platform.settings.max_lost_leases + 1):
        taken = planning.take(
            platform.catalog, chunk_id=poison, owner="vanishes", lease_seconds=9.0, max_lost_leases=20
        )
        assert taken.chunk is not None
        chunks.release_all(platform.catalog)
    drain(platform)

    assert state_of(platform, curation).state == "completed_with_errors"
    assert "21 workers vanished" in str(state_of(platform, curation).error)


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


def test_cancelling_stops_the_work_and_asking_again_takes_it_up(platform: Platform) -> None:
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    run_now(platform, queue[0][0])
    cancelled = curations.cancel(platform.catalog, tenant=TENANT, curation_id=curation.id)
    assert cancelled.state == "cancelled"
    drain(platform)
    assert state_of(platform, curation).state == "cancelled"
    assert not platform.objects.list(paths.curation(curation.id))

    assert begin(platform, dataset_id).state == "queued"
    drain(platform)
    assert state_of(platform, curation).state == "completed"
    # A completed curation stays what it is.
    assert curations.cancel(platform.catalog, tenant=TENANT, curation_id=curation.id).state == "completed"


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


def test_an_outage_is_waited_for_longer_than_an_error(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (chunk_id, _) = queue[0]

    def failures(error: Exception) -> tuple[int, str]:
        lease = take(platform, chunk_id, stopping=threading.Event())
        assert lease is not None
        with lease:
            raise error
        with platform.catalog.read() as connection:
            found = chunks.get(connection, chunk_id=chunk_id)
        assert found is not None
        time.sleep(0.02 * 2**found.failures)  # the wait before the next attempt
        return found.failures, found.state

    allowed = platform.settings.max_failures
    outages = [failures(UnavailableError("the store is away")) for _ in range(allowed)]
    assert outages[-1] == (allowed, "pending")
    assert failures(ValueError("wrong")) == (allowed + 1, "failed")


def test_a_deleted_dataset_leaves_nothing(platform: Platform) -> None:
    kept = ingested(platform)
    kept_run = begin(platform, kept)
    drain(platform)
    before = files_of(platform)
    dataset_id = new_dataset(platform, some_samples(5), name="other")
    drain(platform)
    curation = begin(platform, dataset_id)
    drain(platform)
    begin(platform, dataset_id, seed=3)  # is under way when the dataset goes
    datasets.begin_deletion(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    with pytest.raises(NotFoundError):
        datasets.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    with pytest.raises(NotFoundError):
        state_of(platform, curation)
    drain(platform)

    assert files_of(platform) == before
    with pytest.raises(NotFoundError):
        datasets.begin_deletion(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    assert platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=dataset_id) == 0
    assert platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=kept) == 8
    assert state_of(platform, kept_run).state == "completed"
    assert datasets.create(platform.catalog, tenant=TENANT, name="other")


def test_two_processes_cannot_work_on_one_data_folder(tmp_path: Path, encoders: Path) -> None:
    made = settings(tmp_path / "data", encoders)
    with Platform.open(made) as one, Platform.open(made) as other:
        refused = pytest.raises(ConflictError, match="another process works on")
        with EmbeddedWorkers(one), refused:
            EmbeddedWorkers(other).start()


def test_two_platforms_in_one_process_do_not_mix(tmp_path: Path, encoders: Path) -> None:
    made = [settings(tmp_path / name, encoders) for name in ("one", "other")]
    with ExitStack() as stack:
        runs: list[tuple[Platform, CurationRecord]] = []
        platforms = [stack.enter_context(Platform.open(one)) for one in made]
        for platform in platforms:
            stack.enter_context(EmbeddedWorkers(platform))
        for platform in platforms:
            dataset_id = new_dataset(platform, some_samples(4))
            wait_for_ingest(platform, dataset_id)
            runs.append((platform, begin(platform, dataset_id)))
        for platform, curation in runs:
            assert wait_for(platform, curation.id).state == "completed"
