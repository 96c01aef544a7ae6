"""project: a map of a dataset, made once from the embeddings; every attempt makes the same one."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.pipeline.damage import flip
from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    collected,
    drain,
    ingested,
    run_now,
    send,
    some_samples,
    tar_of,
)
from tests.pipeline.test_integrity_check import findings

from cocu.catalog import events, projections, samples
from cocu.catalog.projections import ProjectionRecord
from cocu.catalog.states import TaskState
from cocu.errors import ConflictError, NotFoundError
from cocu.pipeline import projection_tasks, submit
from cocu.pipeline.integrity_check import DAMAGED, MISSING, PROJECT_AGAIN, Finding, repair
from cocu.pipeline.projected_lists import find_lists
from cocu.pipeline.worker import run_task
from cocu.platform import Platform
from cocu.storage import arrays, paths


@pytest.fixture
def dataset_id(platform: Platform) -> str:
    """A dataset of two shards that is curated."""
    created = ingested(platform, 80)
    begin(platform, created)
    drain(platform)
    return created


def project(platform: Platform, dataset_id: str, **changes: Any) -> ProjectionRecord:
    encoder = platform.encoders.describe()
    request: dict[str, Any] = {"method": "pca", "seed": 0, "tenant": TENANT, **changes}
    created = projection_tasks.create(
        platform.catalog,
        dataset_id=dataset_id,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        **request,
    )
    platform.enqueue(created.tasks)
    return created.projection


def stored(platform: Platform, record: ProjectionRecord) -> dict[str, NDArray[Any]]:
    path = paths.projection_points(record.dataset_id, record.id)
    return {name: np.array(values) for name, values in arrays.read_arrays(platform.objects, path).items()}


def again(platform: Platform, record: ProjectionRecord) -> ProjectionRecord:
    return projections.get(platform.catalog, tenant=TENANT, projection_id=record.id)


def states(platform: Platform) -> list[str]:
    records = events.of_all_tenants(platform.catalog, after=0)
    return [record.data["state"] for record in records if record.kind == "projection"]


def test_project__shows_every_sample_in_regions_of_which_the_first_is_the_largest(
    platform: Platform, dataset_id: str
) -> None:
    record = project(platform, dataset_id)
    drain(platform)
    record, points = again(platform, record), stored(platform, record)

    assert (record.task_state, record.points, record.left_out) == (TaskState.DONE, 80, 0)
    assert sorted(points["rows_P"]) == list(range(80))
    assert points["rows_P"].tolist() != list(range(80)), "the order is random"
    assert record.regions is not None
    regions = record.regions["regions"]
    counts = np.bincount(points["regions_P"])
    assert [region["pictures"] for region in regions] == counts.tolist() == sorted(counts, reverse=True)
    for number, region in enumerate(regions):
        inside = points["regions_P"] == number
        assert region["x"] == int(np.median(points["x_P"][inside]))
        assert region["y"] == int(np.median(points["y_P"][inside]))
    assert states(platform) == ["queued", "running", "completed"]


def test_project__places_are_those_of_the_two_largest_variances(platform: Platform, dataset_id: str) -> None:
    record = project(platform, dataset_id)
    drain(platform)
    shards = samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    embeddings_ND = np.concatenate([
        arrays.read_embeddings(
            platform.objects, paths.embeddings(dataset_id, record.encoder_hash, shard.id)
        ).astype(np.float64)
        for shard in shards
    ])  # fmt: skip
    centred_ND = embeddings_ND - embeddings_ND.mean(axis=0)
    _, _, axes_DD = np.linalg.svd(centred_ND, full_matrices=False)
    places_N2 = centred_ND @ axes_DD[:2].T
    points = stored(platform, record)

    scale = 65_535 / np.ptp(places_N2, axis=0).max()
    for axis, values in enumerate((points["x_P"], points["y_P"])):
        expected_P = places_N2[points["rows_P"], axis] * scale
        shown_P = values - values.astype(float).mean()
        sign = np.sign(expected_P @ shown_P)
        np.testing.assert_allclose(shown_P, sign * (expected_P - expected_P.mean()), atol=8)


def test_project__the_same_request_is_one_projection_and_the_same_bytes(
    platform: Platform, dataset_id: str
) -> None:
    record = project(platform, dataset_id, seed=3)
    drain(platform)
    path = paths.projection_points(dataset_id, record.id)
    before = platform.objects.get(path)
    queue = collected(platform)
    assert project(platform, dataset_id, seed=3).id == record.id
    assert not queue, "what is made is not made again"

    platform.objects.delete(path)
    other = project(platform, dataset_id, seed=4)
    assert other.id != record.id
    # A worker that was killed after it had written: another one gets the task and writes the same.
    with platform.catalog.write() as connection:
        connection.exec_driver_sql(
            "UPDATE tasks SET state = 'running', lease_until = 0 WHERE stage = 'project'"
        )
    drain(platform)
    assert platform.objects.get(path) == before


def test_project__waits_for_no_curation_and_no_curation_for_it(platform: Platform) -> None:
    dataset_id = ingested(platform, 8)
    with pytest.raises(ConflictError, match="curate the dataset"):
        project(platform, dataset_id)
    queue = collected(platform)
    begin(platform, dataset_id)
    with pytest.raises(ConflictError, match="just now"):
        project(platform, dataset_id)
    assert {stage for _, stage in queue} == {"embed"}
    with pytest.raises(NotFoundError):
        project(platform, dataset_id, tenant="somebody else")


def test_project__of_a_dataset_that_grew_is_another_one_with_the_same_rows(
    platform: Platform, dataset_id: str
) -> None:
    first = project(platform, dataset_id)
    send(platform, dataset_id, "later.tar", tar_of(some_samples(6, first=500)))
    drain(platform)
    partial = project(platform, dataset_id)
    begin(platform, dataset_id)
    drain(platform)
    whole = project(platform, dataset_id)
    drain(platform)

    assert partial.id == first.id, "the new samples are not embedded yet"
    assert (whole.id != first.id, again(platform, whole).points) == (True, 86)
    assert sorted(stored(platform, whole)["rows_P"]) == list(range(86))
    assert sorted(stored(platform, first)["rows_P"]) == list(range(80))


def test_project__uses_the_lists_of_a_curation_of_the_same_samples(
    platform: Platform, dataset_id: str
) -> None:
    record = project(platform, dataset_id)
    shards = projections.shards(platform.catalog, projection_id=record.id)
    lists = find_lists(platform, record, shards)

    assert lists is not None
    assert lists[0].shape == lists[1].shape == (80, 8)
    assert find_lists(platform, record, shards[:1]) is None
    send(platform, dataset_id, "later.tar", tar_of(some_samples(6, first=500)))
    begin_later = again(platform, record)
    assert find_lists(platform, begin_later, shards) is not None


def test_project__is_deleted_with_its_dataset(platform: Platform, dataset_id: str) -> None:
    record = project(platform, dataset_id)
    drain(platform)
    other = project(platform, dataset_id, seed=9)
    submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    with pytest.raises(NotFoundError):
        again(platform, record)
    drain(platform)

    assert not platform.objects.list(paths.dataset(dataset_id))
    with platform.catalog.read() as connection:
        assert projections.find(connection, projection_id=other.id) is None


def test_project__is_stopped_when_the_dataset_is_deleted(platform: Platform, dataset_id: str) -> None:
    queue = collected(platform)
    record = project(platform, dataset_id)
    ((task_id, stage),) = queue
    assert stage == "project"
    submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    run_now(platform, task_id)

    assert not platform.objects.exists(paths.projection_points(dataset_id, record.id))


def test_project__that_is_interrupted_is_handed_out_again(platform: Platform, dataset_id: str) -> None:
    queue = collected(platform)
    record = project(platform, dataset_id)
    stopping = threading.Event()
    stopping.set()
    run_task(platform, queue[0][0], stopping=stopping)
    assert again(platform, record).task_state == TaskState.PENDING
    drain(platform)

    assert again(platform, record).task_state == TaskState.DONE


def test_project__that_is_damaged_or_lost_is_found_and_made_again(
    platform: Platform, dataset_id: str
) -> None:
    record = project(platform, dataset_id)
    drain(platform)
    path = paths.projection_points(dataset_id, record.id)
    before = platform.objects.get(path)
    flip(platform, path)
    (damaged,) = findings(platform)
    assert (damaged.path, damaged.problem) == (path, DAMAGED)
    platform.objects.delete(path)
    (missing,) = findings(platform)
    assert (missing.path, missing.problem) == (path, MISSING)

    assert repair(platform, [missing]) == 1
    drain(platform)
    assert platform.objects.get(path) == before
    assert findings(platform) == []


@pytest.mark.slow
def test_project__by_umap_keeps_neighbours_together_and_is_the_same_every_time(
    platform: Platform, dataset_id: str
) -> None:
    record = project(platform, dataset_id, method="umap", seed=5)
    drain(platform)
    assert again(platform, record).task_state == TaskState.DONE, again(platform, record).task_error
    path = paths.projection_points(dataset_id, record.id)
    points, before = stored(platform, record), platform.objects.get(path)
    assert sorted(points["rows_P"]) == list(range(80))
    assert repair(platform, [Finding(MISSING, path, "", "", PROJECT_AGAIN)]) == 1
    drain(platform)

    assert platform.objects.get(path) == before


def test_project__by_umap_without_umap_learn_fails_with_what_to_do(
    platform: Platform, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['umap'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hidden), *sys.path]))
    record = project(platform, dataset_id, method="umap")
    drain(platform)

    assert again(platform, record).task_state == TaskState.FAILED
    assert "pip install 'cocu[projection]'" in (again(platform, record).task_error or "")
    assert states(platform) == ["queued", "running", "failed"]
    monkeypatch.undo()
    assert project(platform, dataset_id, method="umap").task_state == TaskState.PENDING, "it is tried again"


def test_project__whose_umap_process_is_killed_fails_after_the_attempts_of_any_fault(
    platform: Platform, dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "umap.py").write_text(
        "import os, signal\n"
        "class UMAP:\n"
        "    def __init__(self, **options): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    record = project(platform, dataset_id, method="umap")
    drain(platform)

    assert again(platform, record).task_state == TaskState.FAILED
    assert "killed by signal 9" in (again(platform, record).task_error or "")
    with platform.catalog.read() as connection:
        (row,) = connection.exec_driver_sql("SELECT failures FROM tasks WHERE stage = 'project'").all()
    assert row.failures == platform.settings.max_failures == 3
