"""From uploads to archives: what comes out, and that it does not depend on how it was run."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from tests.pipeline.indexed_archives import assert_indexed
from tests.pipeline.pipeline_driver import (
    TENANT,
    archives_of,
    begin,
    concepts_in,
    drain,
    encoded,
    new_dataset,
    noise_png,
    send,
    settings,
    some_samples,
    state_of,
    tar_of,
    wait_for,
    wait_for_ingest,
)

from cocu.catalog import curations, datasets, events, rejections, samples, uploads
from cocu.catalog.tasks import TaskRef
from cocu.curation import segmentation
from cocu.curation.vocabulary import Vocabulary
from cocu.errors import ConflictError
from cocu.pipeline import progress
from cocu.pipeline.embedded import EmbeddedWorkers
from cocu.pipeline.worker import run_task
from cocu.platform import Platform
from cocu.storage import paths


def curated(
    platform: Platform, *uploaded: dict[str, tuple[bytes, str]], **changes: object
) -> curations.CurationRecord:
    dataset_id = new_dataset(platform, *uploaded)
    drain(platform)
    curation = begin(platform, dataset_id, **changes)
    drain(platform)
    return state_of(platform, curation)


def test_what_is_embedded_keeps_its_pixels(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG could be decoded at an eighth of its size, as it is for searches and thumbnails."""
    decoded: list[tuple[int, int]] = []
    smaller: list[tuple[int, int]] = []
    monkeypatch.setattr(JpegImageFile, "draft", lambda image, mode, size: smaller.append(size))
    load = JpegImageFile.load

    def counted(image: JpegImageFile) -> object:
        decoded.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImageFile, "load", counted)
    large = io.BytesIO()
    Image.effect_noise((2400, 1800), 90).save(large, "JPEG")
    curation = curated(platform, {"large": (large.getvalue(), "a dog"), **some_samples(5)})
    assert (curation.state, curation.samples) == ("completed", 6)
    assert (2400, 1800) in decoded
    assert smaller == []


def test_concepts_that_nothing_segments_are_told(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_icu", lambda: None)
    dataset_id = new_dataset(platform, some_samples(5))
    drain(platform)
    started = begin(platform, dataset_id, vocabulary=Vocabulary.from_lines("狗\n猫\ndog\n", name="mixed"))
    drain(platform)
    statistics = state_of(platform, started).statistics
    assert statistics is not None
    assert statistics["concepts_unmatched"] == 2
    assert statistics["not_matched"].startswith("2 concepts are in scripts without spaces")
    assert "pip install icu4py, then make the vocabulary again" in statistics["not_matched"]


def test_uploads_become_archives(platform: Platform) -> None:
    curation = curated(platform, some_samples(20), some_samples(13, first=20))

    assert curation.state == "completed"
    assert curation.samples == 33
    archives = archives_of(platform, curation)
    assert sorted(archives) == [f"{number:05d}" for number in range(33)]
    for row in archives.values():
        assert len(row["neighbours"]) == 4
        assert row["concepts"] == sorted(row["concepts"], key=lambda concept: -concept["score"])
    assert set(concepts_in(archives["00001"])) >= {"cat", "dog"}
    assert curation.statistics is not None
    assert curation.statistics["samples"] == 33
    assert "not_matched" not in curation.statistics
    assert curation.statistics["concepts_added"] > 0
    stages = progress.of_curation(platform.catalog, tenant=TENANT, curation_id=curation.id)
    assert {
        stage.stage: (stage.total, stage.done) for stage in stages if not stage.stage.startswith("index")
    } == {
        "embed": (2, 2),
        "neighbours": (2, 2),
        "aggregate": (1, 1),
        "curate": (2, 2),
        "publish": (1, 1),
    }
    assert {(stage.total, stage.done) for stage in stages if stage.stage.startswith("index")} == {(2, 2)}
    assert_indexed(platform, curation)
    stored = events.since(platform.catalog, tenant=TENANT, curation_id=curation.id)
    assert [event.data["state"] for event in stored if event.kind == "state"] == [
        "queued",
        "running",
        "completed",
    ]


@pytest.mark.slow
def test_the_result_does_not_depend_on_dataset_folder_or_threads(tmp_path: Path, encoders: Path) -> None:
    hashes, ids = set(), set()
    for number, threads in enumerate((1, 3)):
        options = settings(tmp_path / f"data{number}", encoders, worker_threads=threads, samples_per_shard=7)
        with Platform.open(options) as platform, EmbeddedWorkers(platform):
            dataset_id = new_dataset(
                platform, some_samples(12), some_samples(12, first=12), name=f"set {number}"
            )
            wait_for_ingest(platform, dataset_id)
            curation = wait_for(platform, begin(platform, dataset_id).id)
            assert curation.state == "completed"
            assert len(curations.shards(platform.catalog, curation_id=curation.id)) == 4
            hashes.add(curation.content_hash)
            ids.add(curation.id)
    assert len(hashes) == 1
    assert len(ids) == 2


def test_the_same_request_is_the_same_curation(platform: Platform) -> None:
    first = curated(platform, some_samples(8))
    again = begin(platform, first.dataset_id)
    other = begin(platform, first.dataset_id, seed=1)

    assert again.id == first.id
    assert again.state == "completed"
    assert other.id != first.id
    drain(platform)
    assert state_of(platform, other).state == "completed"


def test_a_second_curation_does_not_embed_again(platform: Platform) -> None:
    first = curated(platform, some_samples(8))
    shard = curations.shards(platform.catalog, curation_id=first.id)[0]
    # Without the tar nothing could be embedded.
    platform.objects.delete(paths.shard(first.dataset_id, shard.shard_id))
    other = begin(platform, first.dataset_id, neighbours=2)
    drain(platform)

    assert state_of(platform, other).state == "completed"


def test_a_dataset_grows(platform: Platform) -> None:
    first = curated(platform, some_samples(8))
    send(platform, first.dataset_id, "more.tar", tar_of(some_samples(4, first=8)))
    drain(platform)
    second = begin(platform, first.dataset_id)
    drain(platform)

    assert second.id != first.id
    before, after = (
        curations.shards(platform.catalog, curation_id=curation.id) for curation in (first, second)
    )
    assert [(shard.shard_id, shard.first_row) for shard in after][:1] == [
        (shard.shard_id, shard.first_row) for shard in before
    ]
    assert len(archives_of(platform, second)) == 12


def test_the_earlier_upload_has_the_key_whichever_is_ingested_first(tmp_path: Path, encoders: Path) -> None:
    snapshots = set()
    for order in (list, reversed):
        with Platform.open(settings(tmp_path / order.__name__, encoders)) as platform:
            queue: list[TaskRef] = []
            platform.send_with(queue.extend)
            dataset_id = new_dataset(
                platform,
                {"both": (noise_png(1), "a dog")} | some_samples(3),
                {"both": (noise_png(2), "a cat")} | some_samples(3, first=3),
                {"both": (noise_png(3), "a boat"), "00004": (noise_png(4), "a tree")}
                | some_samples(2, first=6)
                | some_samples(1),
            )
            for task_id, _ in order(queue.copy()):
                run_task(platform, task_id, stopping=threading.Event())
            drain(platform)

            of = {"tenant": TENANT, "dataset_id": dataset_id}
            assert samples.find(platform.catalog, **of, key="both").shard_id.startswith("000000-")
            assert samples.find(platform.catalog, **of, key="00004").shard_id.startswith("000001-")
            report = rejections.report(platform.catalog, **of)
            assert (report.accepted, report.skipped) == (12, {"duplicate_key": 1})
            listed = uploads.list_page(platform.catalog, **of, limit=10)
            assert [upload.accepted for upload in listed.items] == [4, 4, 4]
            snapshots.add(begin(platform, dataset_id).snapshot_hash)
    assert len(snapshots) == 1


def test_files_as_sent_in_are_deleted_once_they_are_shards(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(3), some_samples(3, first=3))
    drain(platform)

    assert platform.objects.list(f"{paths.dataset(dataset_id)}/uploads") == []


def test_one_image(platform: Platform) -> None:
    curation = curated(platform, some_samples(1))

    assert curation.state == "completed"
    (row,) = archives_of(platform, curation).values()
    assert row["neighbours"] == []
    assert concepts_in(row) == ["dog"]


def test_fewer_images_than_neighbours(platform: Platform) -> None:
    curation = curated(platform, some_samples(3), neighbours=8)

    assert curation.state == "completed"
    assert [len(row["neighbours"]) for row in archives_of(platform, curation).values()] == [2, 2, 2]


def test_identical_images_are_no_neighbours_of_each_other(platform: Platform) -> None:
    same = {f"{number}": (noise_png(1), f"a {word}") for number, word in enumerate(("dog", "cat", "boat"))}
    curation = curated(platform, same)

    assert curation.state == "completed"
    assert curation.statistics is not None
    assert curation.statistics["exact_duplicates"] == 2
    archives = archives_of(platform, curation)
    assert [row["neighbours"] for row in archives.values()] == [[], [], []]
    assert [concepts_in(row) for row in archives.values()] == [["dog"], ["cat"], ["boat"]]


def test_captions_without_concepts_give_empty_archives(platform: Platform) -> None:
    curation = curated(platform, {f"{number}": (noise_png(number), "nothing known") for number in range(4)})

    assert curation.state == "completed"
    assert [concepts_in(row) for row in archives_of(platform, curation).values()] == [[], [], [], []]
    assert curation.statistics is not None
    assert curation.statistics["empty_archives"] == 4


def test_an_image_the_encoder_fails_on_is_reported_and_nobodys_neighbour(platform: Platform) -> None:
    black = encoded(Image.new("RGB", (16, 16)))
    curation = curated(platform, {"black": (black, "a boat")} | some_samples(3), neighbours=8)

    assert curation.state == "completed"
    report = rejections.report(platform.catalog, tenant=TENANT, dataset_id=curation.dataset_id)
    assert report.failed == {"embedding_failed": 1}
    archives = archives_of(platform, curation)
    assert archives.pop("black")["neighbours"] == []
    assert all(0 not in row["neighbours"] for row in archives.values())
    assert all("boat" not in concepts_in(row) for row in archives.values())


def test_a_dataset_without_accepted_samples_is_refused(platform: Platform) -> None:
    dataset_id = new_dataset(platform, {"broken": (b"<html></html>", "a dog"), "blank": (noise_png(1), "  ")})
    drain(platform)

    report = rejections.report(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    assert report.accepted == 0
    assert sum(report.skipped.values()) == 2
    with pytest.raises(ConflictError, match="no accepted samples"):
        begin(platform, dataset_id)


def test_a_dataset_is_not_curated_while_uploads_are_ingested(platform: Platform) -> None:
    dataset_id = new_dataset(platform, some_samples(3))

    with pytest.raises(ConflictError, match=r"'0\.tar' is still being ingested"):
        begin(platform, dataset_id)


def test_an_upload_of_no_known_format_fails_and_may_be_sent_again(platform: Platform) -> None:
    dataset_id = datasets.create(platform.catalog, tenant=TENANT, name="d").id
    send(platform, dataset_id, "file", b"this is not an archive of any kind")
    drain(platform)

    upload = uploads.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id, name="file")
    assert upload.state == "failed"
    assert upload.error
    send(platform, dataset_id, "file", tar_of(some_samples(2)))
    drain(platform)
    upload = uploads.get(platform.catalog, tenant=TENANT, dataset_id=dataset_id, name="file")
    assert (upload.state, upload.accepted, upload.error) == ("ingested", 2, None)
