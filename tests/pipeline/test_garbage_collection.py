"""Files that no row of the catalog names are deleted once they are old; everything else stays."""

from __future__ import annotations

import os
import time

import pytest
from tests.pipeline.pipeline_driver import (
    TENANT,
    begin,
    drain,
    new_dataset,
    send,
    some_samples,
    state_of,
    tar_of,
)

from cocu.catalog import label_sets, samples
from cocu.pipeline import sweeper
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.garbage_collection import delete_orphans
from cocu.platform import Platform
from cocu.storage import paths


def grow_old(platform: Platform) -> None:
    """As if everything had been written two days ago."""
    then = time.time() - 2 * 24 * 3600
    for path in platform.objects.list():
        os.utime(platform.objects.local_path(path), (then, then))


def keep_labels(platform: Platform, dataset_id: str, document: str) -> None:
    """Labels whose document is at this path."""
    stored = platform.objects.put(document, b"labels")
    label_sets.store(
        platform.catalog,
        tenant=TENANT,
        dataset_id=dataset_id,
        name="drawn",
        hash="h",
        document=document,
        sha256=stored.sha256,
        label_map=None,
        images=1,
        classes=1,
        counts={},
    )


def test_orphans__are_deleted_when_old_and_nothing_else_ever(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(6))
    drain(platform)
    curation = begin(platform, dataset_id)
    drain(platform)
    kept = paths.labels(dataset_id, "kept")
    keep_labels(platform, dataset_id, kept)
    paths_before = platform.objects.list()
    orphans = [
        paths.shard(dataset_id, "000000-0000-abandoned"),
        paths.samples(dataset_id, "000000-0000-abandoned"),
        paths.embeddings(dataset_id, curation.encoder_hash, "000000-0000-abandoned"),
        paths.upload(dataset_id, "lost"),
        paths.labels(dataset_id, "lost"),
    ]
    for path in orphans:
        platform.objects.put(path, b"of an attempt that did not count")
    assert delete_orphans(platform, dataset_id=dataset_id) == []
    grow_old(platform)
    young = paths.upload(dataset_id, "young")
    platform.objects.put(young, b"perhaps on its way")

    assert sorted(delete_orphans(platform, dataset_id=dataset_id)) == sorted(orphans)

    assert platform.objects.list() == sorted([*paths_before, young])
    assert state_of(platform, curation).state == "completed"


def test_orphans__wait_while_something_is_ingested(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(4))
    drain(platform)
    path = paths.shard(dataset_id, "000009-0000-abandoned")
    platform.objects.put(path, b"perhaps written again in a moment")
    grow_old(platform)
    send(platform, dataset_id, "more.tar", tar_of(some_samples(4, first=4)))
    kept = platform.objects.list()
    assert delete_orphans(platform, dataset_id=dataset_id) == []
    assert platform.objects.list() == kept
    drain(platform)
    assert delete_orphans(platform, dataset_id=dataset_id) == [path]
    assert len(samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)) == 2


def test_sweeper__looks_for_them_by_itself(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "FIRST_ORPHAN_SECONDS", 0.0)
    datasets = [new_dataset(platform, some_samples(2), name=f"set {number}") for number in range(2)]
    drain(platform)
    kept = platform.objects.list()
    for dataset_id in datasets:
        platform.objects.put(paths.upload(dataset_id, "lost"), b"nobody knows me")
    grow_old(platform)
    with EmbeddedWorkers(platform):
        deadline = time.monotonic() + 30
        while platform.objects.list() != kept:
            assert time.monotonic() < deadline, "orphans are still there"
            time.sleep(0.02)
