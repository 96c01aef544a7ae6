"""What happens twice, is cancelled, is deleted or runs beside another: the outcome is the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.pipeline.pipeline_driver import (
    TENANT,
    archives_of,
    begin,
    collected,
    drain,
    dumped,
    files_of,
    ingested,
    new_dataset,
    run_now,
    settings,
    some_samples,
    state_of,
    wait_for,
    wait_for_ingest,
)

from cocu.catalog import curations, datasets, tasks, uploads
from cocu.catalog.curations import CurationRecord
from cocu.errors import ConflictError, NotFoundError
from cocu.pipeline import submit
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.platform import Platform
from cocu.storage import paths


def test_every_task_delivered_four_times_at_once_changes_nothing(
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
                task_id, _ = queue.pop(0)
                list(pool.map(run_now, [platform] * times, [task_id] * times))

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


def test_a_finished_task_run_again_writes_the_same_files(platform: Platform) -> None:
    queue = collected(platform)
    dataset_id = ingested(platform)
    queue = collected(platform)
    curation = begin(platform, dataset_id)
    ran: list[str] = []
    while queue:
        task_id, stage = queue.pop(0)
        run_now(platform, task_id)
        # The vector store is a copy of the files.
        ran += [task_id] if not stage.startswith("index") else []
    before, hash_before = files_of(platform), state_of(platform, curation).content_hash
    for task_id in ran:
        with platform.catalog.write() as connection:
            tasks.restart(connection, task_id=task_id)
        # The run has ended, so nobody wants the task: it is as if its worker had woken up too late.
        run_now(platform, task_id)

    assert files_of(platform) == before
    assert state_of(platform, curation).content_hash == hash_before


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
    submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    with pytest.raises(NotFoundError):
        datasets.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    with pytest.raises(NotFoundError):
        state_of(platform, curation)
    drain(platform)

    assert files_of(platform) == before
    with pytest.raises(NotFoundError):
        submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    assert platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=dataset_id) == 0
    assert platform.vectors.count(encoder=curation.encoder_hash, tenant=TENANT, dataset=kept) == 8
    assert state_of(platform, kept_run).state == "completed"
    assert datasets.create(platform.catalog, tenant=TENANT, name="other")


def test_two_processes_cannot_work_on_one_data_folder(tmp_path: Path, encoders: Path) -> None:
    options = settings(tmp_path / "data", encoders)
    with Platform.open(options) as first, Platform.open(options) as second:
        refused = pytest.raises(ConflictError, match="another process works on")
        with EmbeddedWorkers(first), refused:
            EmbeddedWorkers(second).start()


@pytest.mark.slow
def test_two_platforms_in_one_process_do_not_mix(tmp_path: Path, encoders: Path) -> None:
    both_settings = [settings(tmp_path / name, encoders) for name in ("first", "second")]
    with ExitStack() as stack:
        runs: list[tuple[Platform, CurationRecord]] = []
        platforms = [stack.enter_context(Platform.open(options)) for options in both_settings]
        for platform in platforms:
            stack.enter_context(EmbeddedWorkers(platform))
        for platform in platforms:
            dataset_id = new_dataset(platform, some_samples(4))
            wait_for_ingest(platform, dataset_id)
            runs.append((platform, begin(platform, dataset_id)))
        for platform, curation in runs:
            assert wait_for(platform, curation.id).state == "completed"
