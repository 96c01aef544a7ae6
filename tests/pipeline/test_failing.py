"""What cannot be done: shards, encoders, vocabularies and workers that fail, and runs that are mended."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from tests.pipeline.pipeline_driver import (
    TENANT,
    archives_of,
    begin,
    collected,
    drain,
    ingested,
    new_dataset,
    some_samples,
    state_of,
)
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.catalog import samples, tasks, vocabularies
from cocu.errors import UnavailableError
from cocu.pipeline import planner, progress
from cocu.pipeline.lease import take
from cocu.platform import Platform
from cocu.storage import paths


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
    assert (failure.stage, failure.target) == ("embed", listed[0])
    archives = archives_of(platform, curation)
    assert sorted(archives) == ["00004", "00005", "00006", "00007"]
    # Rows 0..3 belong to the lost shard: they have numbers, but are neighbours of no sample.
    assert {row for archive in archives.values() for row in archive["neighbours"]} <= {4, 5, 6, 7}


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
        task = tasks.get(
            connection,
            task_id=tasks.identity(
                dataset_id=dataset_id,
                owner_key=curation.encoder_hash,
                stage=failure.stage,
                target=failure.target,
            ),
        )
    assert task is not None
    assert (task.attempts, task.failures) == (1, 1)


def test_another_vocabulary_under_the_same_hash_is_refused(platform: Platform) -> None:
    dataset_id = ingested(platform)
    curation = begin(platform, dataset_id)
    record = vocabularies.get(platform.catalog, tenant=TENANT, vocabulary=curation.vocabulary_id)
    path = paths.vocabulary(record.hash)
    platform.objects.put(path, platform.objects.get(path).replace(b'"dog"', b'"dot"'))
    drain(platform)

    assert state_of(platform, curation).state == "failed"
    assert "has hash" in str(state_of(platform, curation).error)


def test_a_task_that_loses_its_workers_is_given_up(platform: Platform) -> None:
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    (poison, _), *_ = queue
    for _ in range(platform.settings.max_lost_leases + 1):
        taken = planner.take(
            platform.catalog, task_id=poison, owner="vanishes", lease_seconds=9.0, max_lost_leases=20
        )
        assert taken.task is not None
        tasks.release_all(platform.catalog)
    drain(platform)

    assert state_of(platform, curation).state == "completed_with_errors"
    assert "21 workers vanished" in str(state_of(platform, curation).error)


def test_an_outage_is_waited_for_longer_than_an_error(platform: Platform) -> None:
    queue = collected(platform)
    new_dataset(platform, some_samples(2))
    (task_id, _) = queue[0]

    def failures(error: Exception) -> tuple[int, str]:
        lease = take(platform, task_id, stopping=threading.Event())
        assert lease is not None
        with lease:
            raise error
        with platform.catalog.read() as connection:
            task = tasks.get(connection, task_id=task_id)
        assert task is not None
        time.sleep(0.02 * 2**task.failures)  # the wait before the next attempt
        return task.failures, task.state

    allowed = platform.settings.max_failures
    outages = [failures(UnavailableError("the store is away")) for _ in range(allowed)]
    assert outages[-1] == (allowed, "pending")
    assert failures(ValueError("wrong")) == (allowed + 1, "failed")
