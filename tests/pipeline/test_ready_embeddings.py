"""Uploaded embeddings in the stages: the result is that of the encoder, also if a task is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.local_platform import tar_of
from tests.pipeline.pipeline_driver import (
    TENANT,
    archives_of,
    begin,
    drain,
    new_dataset,
    settings,
    some_samples,
    state_of,
)
from tests.ready_embeddings import Files, partitioned

from cocu.catalog import datasets, samples, tasks, uploads
from cocu.catalog.records import new_id
from cocu.catalog.samples import ShardRecord
from cocu.catalog.states import Stage, UploadState
from cocu.encoders.inprocess import InProcessEncoder
from cocu.pipeline import submit, submit_uploads
from cocu.pipeline.stages import ingest
from cocu.platform import Platform
from cocu.storage import arrays, paths, tables

IMAGES = some_samples(30)
CAPTIONS = {key: caption for key, (_, caption) in IMAGES.items()}


@pytest.fixture
def platform(tmp_path: Path, encoders: Path) -> Iterator[Platform]:
    """As the one of the other tests, with small shards."""
    with Platform.open(settings(tmp_path / "data", encoders, samples_per_shard=8)) as opened:
        yield opened


def send_ready(platform: Platform, files: Files, *, name: str = "ready") -> str:
    """A dataset with one upload of embeddings; not yet ingested."""
    dataset_id = datasets.create(platform.catalog, tenant=TENANT, name=name).id
    upload = uploads.register(
        platform.catalog,
        tenant=TENANT,
        dataset_id=dataset_id,
        name="ready.tar",
        options={"encoder": platform.encoders.describe().hash},
    )
    stored = platform.objects.put(paths.upload(dataset_id, new_id()), tar_of(files))
    _, task_refs = submit_uploads.receive_upload(
        platform.catalog,
        tenant=TENANT,
        upload_id=upload.id,
        object_path=stored.path,
        size=stored.size,
        sha256=stored.sha256,
    )
    platform.enqueue(task_refs)
    return dataset_id


def shards_of(platform: Platform, dataset_id: str) -> list[ShardRecord]:
    return samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)


def embeddings_of(platform: Platform, dataset_id: str) -> NDArray[np.float16]:
    encoder = platform.encoders.describe().hash
    parts = [
        arrays.read_embeddings(platform.objects, paths.embeddings(dataset_id, encoder, shard.id))
        for shard in shards_of(platform, dataset_id)
    ]
    return np.concatenate(parts)


def test_archives_are_those_of_the_dataset_that_the_encoder_embedded(platform: Platform) -> None:
    with_images = new_dataset(platform, IMAGES)
    drain(platform)
    first = begin(platform, with_images)
    drain(platform)
    # Partitions of 11 rows, of both precisions, against shards of 8.
    vectors_ND = embeddings_of(platform, with_images).astype(np.float32)
    ready = send_ready(platform, partitioned(vectors_ND, CAPTIONS, rows=11))
    with mock.patch.object(InProcessEncoder, "embed_images", side_effect=AssertionError("nothing to embed")):
        drain(platform)
        second = begin(platform, ready)
        drain(platform)
    first, second = state_of(platform, first), state_of(platform, second)
    assert [shard.samples for shard in shards_of(platform, ready)] == [8, 8, 8, 6]
    np.testing.assert_array_equal(embeddings_of(platform, ready), embeddings_of(platform, with_images))
    assert second.state == "completed"
    assert second.content_hash == first.content_hash
    assert archives_of(platform, second) == archives_of(platform, first)
    assert second.statistics == first.statistics


def test_shards_know_other_embeddings_from_these(platform: Platform) -> None:
    generator = np.random.default_rng(1)
    hashes = []
    for number in range(2):
        vectors_ND = generator.standard_normal((30, 16))
        dataset = send_ready(platform, partitioned(vectors_ND, CAPTIONS, rows=30), name=f"ready {number}")
        drain(platform)
        hashes.append([shard.sha256 for shard in shards_of(platform, dataset)])
    assert not set(hashes[0]) & set(hashes[1])


def test_an_attempt_that_broke_off_leaves_the_same_files(platform: Platform) -> None:
    vectors_ND = np.random.default_rng(1).standard_normal((30, 16))
    dataset = send_ready(platform, partitioned(vectors_ND, CAPTIONS, rows=7))
    written: list[str] = []
    original = ingest.arrays.write_embeddings

    def killed(objects: object, path: str, embeddings_ND: NDArray[np.float16]) -> None:
        original(platform.objects, path, embeddings_ND)
        written.append(path)
        if len(written) == 2:
            raise OSError("killed")

    with mock.patch.object(ingest.arrays, "write_embeddings", killed):
        drain(platform)
    # Two of the first attempt, which was tried again from the beginning.
    assert len(written) == 6
    assert written[:2] == written[2:4]
    assert sorted(set(written)) == sorted(
        paths.embeddings(dataset, platform.encoders.describe().hash, shard.id)
        for shard in shards_of(platform, dataset)
    )
    assert embeddings_of(platform, dataset).shape == (30, 16)
    leftovers = [path for path in platform.settings.data_folder.iterdir() if "embeddings-" in path.name]
    assert leftovers == []


def test_equal_embeddings_are_copies(platform: Platform) -> None:
    vectors_ND = np.random.default_rng(1).standard_normal((30, 16))
    vectors_ND[20] = vectors_ND[3]
    dataset = send_ready(platform, partitioned(vectors_ND, CAPTIONS, rows=30))
    drain(platform)
    curation = begin(platform, dataset)
    drain(platform)
    ended = state_of(platform, curation)
    assert ended.statistics is not None
    assert (ended.statistics["exact_duplicates"], ended.statistics["near_duplicates"]) == (1, 0)
    assert 20 not in archives_of(platform, curation)["00003"]["neighbours"]


def test_the_table_of_samples_says_that_there_are_no_images(platform: Platform) -> None:
    vectors_ND = np.random.default_rng(1).standard_normal((30, 16))
    dataset = send_ready(platform, partitioned(vectors_ND, CAPTIONS, rows=30))
    drain(platform)
    shard = shards_of(platform, dataset)[0]
    table = tables.read_table(platform.objects, paths.samples(dataset, shard.id))
    for name in ("offset", "size", "width", "height"):
        assert table[name].to_pylist() == [0] * 8


def test_an_encoder_that_is_gone_fails_the_upload_at_once(platform: Platform, encoders: Path) -> None:
    dataset = send_ready(platform, partitioned(np.ones((30, 16)), CAPTIONS, rows=30))
    (encoders / "tiny" / "encoder.json").rename(encoders / "tiny" / "gone")
    drain(platform)
    upload = uploads.get(platform.catalog, tenant=TENANT, dataset_id=dataset, name="ready.tar")
    assert upload.state == UploadState.FAILED
    assert "no encoder" in (upload.error or "")
    with platform.catalog.read() as connection:
        task_id = tasks.identity(dataset_id=dataset, owner_key="", stage=Stage.INGEST, target=upload.id)
        task = tasks.get(connection, task_id=task_id)
    assert task is not None
    assert task.failures == 1


def test_a_deleted_dataset_leaves_none(platform: Platform) -> None:
    dataset = send_ready(platform, partitioned(np.eye(30, 16) + 1, CAPTIONS, rows=30))
    drain(platform)
    assert list(platform.settings.data_folder.rglob("*.npy"))
    platform.enqueue(submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset))
    drain(platform)
    assert list(platform.settings.data_folder.rglob("*.npy")) == []
