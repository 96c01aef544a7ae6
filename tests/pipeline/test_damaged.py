"""Stages that read damaged objects: the task fails or leaves out the sample, and says why."""

from __future__ import annotations

import logging

import pytest
from tests.pipeline.damage import flip, the_first
from tests.pipeline.pipeline_driver import (
    TENANT,
    archives_of,
    begin,
    drain,
    ingested,
    new_dataset,
    some_samples,
    state_of,
)

from cocu.catalog import rejections, uploads
from cocu.platform import Platform


def test_a_damaged_file_is_not_ingested(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(8))
    # In the middle of an image: the tar itself can still be read.
    flip(platform, the_first(platform, "uploads"), at=0.3)
    drain(platform)
    upload = uploads.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id, name="0.tar")
    assert (upload.state, upload.accepted) == ("failed", 0)
    assert upload.error is not None
    assert "damaged" in upload.error
    assert "send it again" in upload.error


@pytest.mark.parametrize("kind", ["samples", "embeddings", "fingerprints"])
def test_a_curation_of_damaged_data_fails_and_names_it(platform: Platform, kind: str) -> None:
    dataset_id = ingested(platform)
    begin(platform, dataset_id, neighbours=3)
    drain(platform)
    flip(platform, the_first(platform, "datasets", f"/{kind}/"))
    curation = begin(platform, dataset_id, neighbours=2)
    drain(platform)
    ended = state_of(platform, curation)
    assert ended.state == "failed"
    assert ended.error is not None
    assert f"/{kind}/" in ended.error
    assert "cocu catalog verify" in ended.error


def test_a_damaged_image_is_not_embedded_and_the_others_are(platform: Platform) -> None:
    dataset_id = ingested(platform, 8)
    flip(platform, the_first(platform, "shards"), at=0.3)
    curation = begin(platform, dataset_id)
    drain(platform)
    report = rejections.report(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    page = rejections.list_page(platform.catalog, tenant=TENANT, dataset_id=dataset_id, limit=10)
    assert report.failed == {"embedding_failed": 1}
    assert ["is damaged" in rejection.detail for rejection in page.items] == [True]
    assert len(archives_of(platform, state_of(platform, curation))) == 8


def test_damaged_embeddings_of_a_vocabulary_are_computed_again(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id = ingested(platform)
    first = begin(platform, dataset_id, neighbours=3)
    drain(platform)
    flip(platform, the_first(platform, "vocabularies/embeddings"))
    with caplog.at_level(logging.WARNING):
        second = begin(platform, dataset_id, neighbours=2)
        drain(platform)
    assert state_of(platform, first).state == state_of(platform, second).state == "completed"
    assert "computed again" in caplog.text
