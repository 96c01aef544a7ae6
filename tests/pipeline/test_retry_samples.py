"""Samples that the encoder failed on once: a retry embeds them alone, for curations from then on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
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

from cocu.catalog import rejections, samples
from cocu.errors import ConflictError
from cocu.formats.images import load_image
from cocu.formats.limits import Limits
from cocu.pipeline import submit, submit_retries
from cocu.pipeline.stages import embed
from cocu.platform import Platform
from cocu.storage import arrays, paths

FAULTY = {"00002", "00005"}


class Loading:
    """Loads images except the faulty ones, and counts the requests."""

    def __init__(self) -> None:
        self.faulty = {hashlib.sha256(some_samples(10)[key][0]).digest() for key in FAULTY}
        self.requested = 0

    def __call__(self, data: bytes, *, limits: Limits) -> Image.Image:
        self.requested += 1
        if hashlib.sha256(data).digest() in self.faulty:
            raise OSError("the disk said no")
        return load_image(data, limits=limits)


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Loading:
    loading = Loading()
    monkeypatch.setattr(embed, "load_image", loading)
    return loading


def retry(platform: Platform, dataset_id: str) -> submit_retries.Retried:
    return submit_retries.retry_samples(platform.catalog, tenant=TENANT, dataset_id=dataset_id, max_rows=1000)


def failed(platform: Platform, dataset_id: str) -> dict[str, int]:
    return rejections.report(platform.catalog, tenant=TENANT, dataset_id=dataset_id).failed


def test_retry__embeds_only_what_failed(
    platform: Platform, loading: Loading, tmp_path: Path, encoders: Path
) -> None:
    dataset_id = new_dataset(platform, some_samples(4), some_samples(6, first=4))
    drain(platform)
    first = begin(platform, dataset_id)
    drain(platform)
    before = archives_of(platform, first)
    assert failed(platform, dataset_id) == {"embedding_failed": 2}
    loading.requested, loading.faulty = 0, set()

    assert retry(platform, dataset_id).samples == 2
    with pytest.raises(ConflictError, match="embedded again"):
        begin(platform, dataset_id)
    drain(platform)

    assert loading.requested == 2
    assert failed(platform, dataset_id) == {}
    assert retry(platform, dataset_id).samples == 0
    second = begin(platform, dataset_id)
    drain(platform)
    assert loading.requested == 2
    # What was completed stays as it was; asking again gives what a platform without the fault would have.
    assert state_of(platform, first).content_hash != state_of(platform, second).content_hash
    assert archives_of(platform, first) == before
    with Platform.open(settings(tmp_path / "sound", encoders)) as sound:
        undisturbed = new_dataset(sound, some_samples(4), some_samples(6, first=4))
        drain(sound)
        expected = begin(sound, undisturbed)
        drain(sound)
        assert state_of(platform, second).content_hash == state_of(sound, expected).content_hash


def test_retry__that_fails_again_changes_no_file_and_no_curation(
    platform: Platform, loading: Loading
) -> None:
    dataset_id = new_dataset(platform, some_samples(10))
    drain(platform)
    first = begin(platform, dataset_id)
    drain(platform)
    (shard,) = samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    path = paths.embeddings(dataset_id, first.encoder_hash, shard.id)
    before = platform.objects.get(path)

    assert retry(platform, dataset_id).samples == 2
    drain(platform)

    assert platform.objects.get(path) == before
    assert failed(platform, dataset_id) == {"embedding_failed": 2}
    assert begin(platform, dataset_id).id == first.id
    assert not arrays.read_embeddings(platform.objects, path)[2].any()
    assert np.asarray(arrays.read_embeddings(platform.objects, path)[3]).any()


def test_retry__leaves_embeddings_that_a_curation_in_progress_uses(
    platform: Platform, loading: Loading
) -> None:
    dataset_id = new_dataset(platform, some_samples(10))
    drain(platform)
    begin(platform, dataset_id)
    drain(platform)
    begin(platform, dataset_id, neighbours=3)
    assert retry(platform, dataset_id).samples == 0
    drain(platform)
    assert retry(platform, dataset_id).samples == 2


def test_retry__is_dropped_with_the_dataset(platform: Platform, loading: Loading) -> None:
    dataset_id = new_dataset(platform, some_samples(10))
    drain(platform)
    begin(platform, dataset_id)
    drain(platform)
    retry(platform, dataset_id)
    platform.enqueue(submit.delete_dataset(platform.catalog, tenant=TENANT, dataset_id=dataset_id))
    drain(platform)
    assert platform.objects.list(f"datasets/{dataset_id}") == []
