"""The stream as a trainer reads it, with pyarrow and no code of this project."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import httpx
import pyarrow as pa
import pytest
from PIL import Image
from tests.batches.conftest import SAMPLES, WORDS, Curated, key_of

from cocu.client import CocuClient

Row = dict[str, Any]


def read(curated: Curated, **parameters: object) -> list[list[Row]]:
    """Return every batch as rows."""
    answer = httpx.get(curated.url, timeout=60, params={"global_batch": 8, "images": "false", **parameters})
    assert answer.status_code == 200, answer.text
    with pa.ipc.open_stream(answer.content) as reader:
        return [batch.to_pylist() for batch in reader]


def keys(batches: list[list[Row]]) -> list[str]:
    return [row["key"] for batch in batches for row in batch]


@pytest.fixture(scope="module")
def epoch(curated: Curated) -> list[list[Row]]:
    return read(curated)


def test_epoch__is_a_permutation_of_the_snapshot_that_ends_short(
    curated: Curated, epoch: list[list[Row]]
) -> None:
    assert [len(batch) for batch in epoch] == [8] * 6 + [2]
    assert Counter(keys(epoch)) == Counter(list(curated.captions))
    assert keys(epoch) != sorted(keys(epoch))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_ranks__share_every_global_batch_whatever_their_number(
    curated: Curated, epoch: list[list[Row]], world_size: int
) -> None:
    ranks = [read(curated, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(epoch)}, "no rank may wait for another's batch"
    for number, whole in enumerate(epoch):
        rows = {row["key"]: row for batches in ranks for row in batches[number]}
        assert sum(len(batches[number]) for batches in ranks) == len(whole)
        assert rows == {row["key"]: row for row in whole}, "concepts and texts, too, are the same"


@pytest.mark.parametrize("start", range(8))
def test_start__gives_the_rest(curated: Curated, epoch: list[list[Row]], start: int) -> None:
    assert read(curated, start=start) == epoch[start:]


def test_drop_last__leaves_out_the_short_batch(curated: Curated, epoch: list[list[Row]]) -> None:
    assert read(curated, drop_last="true") == epoch[:-1]


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}])
def test_another_seed_or_epoch__changes_order_and_draws(
    curated: Curated, epoch: list[list[Row]], changed: dict[str, int]
) -> None:
    other = read(curated, **changed)
    assert keys(other) != keys(epoch)
    before = {row["key"]: row for batch in epoch for row in batch}
    after = {row["key"]: row for batch in other for row in batch}
    assert before.keys() == after.keys()
    several = [key for key, row in before.items() if row["drawn"]]
    assert any(before[key]["concepts"] != after[key]["concepts"] for key in several)
    assert any(before[key]["texts"] != after[key]["texts"] for key in several)


def test_draw__depends_on_neither_batch_size_nor_what_else_is_asked_for(
    curated: Curated, epoch: list[list[Row]]
) -> None:
    before = {row["key"]: row for batch in epoch for row in batch}
    for changed in ({"global_batch": 3}, {"images": "true"}, {"include_scores": "true"}):
        for batch in read(curated, **changed):
            for row in batch:
                assert row["concepts"] == before[row["key"]]["concepts"]
                assert row["texts"] == before[row["key"]]["texts"]


def test_topk__is_the_archive_from_its_best(curated: Curated) -> None:
    rows = {
        row["key"]: row
        for batch in read(curated, sampler="topk", concepts=2, include_scores="true", prompts="raw")
        for row in batch
    }
    with CocuClient(curated.server.url) as client:
        archives = {archive.key: archive for archive in client.archives.list(curated.curation.id)}
    vocabulary = ["bench", "boat", "car", "cat", "dog", "tree"]
    for key, archive in archives.items():
        best = archive.concepts[:2]
        assert rows[key]["concepts"] == [entry.concept for entry in best]
        assert [vocabulary[number] for number in rows[key]["concept_ids"]] == rows[key]["concepts"]
        assert rows[key]["scores"] == pytest.approx([entry.score for entry in best])
        assert rows[key]["caption"] == archive.caption


def test_caption__draws_what_the_samples_own_caption_names(curated: Curated) -> None:
    for batch in read(curated, sampler="caption", concepts=3, prompts="raw"):
        for row in batch:
            named = {word for word in WORDS if f" {word}" in row["caption"]}
            assert set(row["concepts"]) == named
            assert row["drawn"] == len(named)
            assert row["texts"][row["drawn"] :] == [row["caption"]] * (3 - row["drawn"])


def test_texts__are_padded_with_the_caption(curated: Curated) -> None:
    rows = [row for batch in read(curated, concepts=9, prompts="raw") for row in batch]
    assert any(row["drawn"] < 9 for row in rows)
    for row in rows:
        assert row["drawn"] == len(row["concepts"]) == len(set(row["concepts"]))
        assert row["texts"] == row["concepts"] + [row["caption"]] * (9 - row["drawn"])


def test_texts__stand_in_the_80_templates_of_imagenet(curated: Curated) -> None:
    from cocu.batches.prompts import imagenet_templates

    templates = imagenet_templates()
    assert len(set(templates)) == 80
    used: set[str] = set()
    for number in range(4):
        for batch in read(curated, epoch=number):
            for row in batch:
                for concept, text in zip(row["concepts"], row["texts"], strict=False):
                    used |= {template for template in templates if template.format(concept) == text}
                    assert any(template.format(concept) == text for template in templates)
    assert len(used) > 70, "600 even draws miss each of 80 with odds of 1 in 1,800"


def test_texts__stand_in_the_templates_given(curated: Curated) -> None:
    templates = ["{}, painted", "the {} there"]
    for batch in read(curated, template=templates):
        for row in batch:
            for concept, text in zip(row["concepts"], row["texts"], strict=False):
                assert text in [template.format(concept) for template in templates]


def test_images__are_those_that_were_uploaded(curated: Curated) -> None:
    rows = [row for batch in read(curated, images="true") for row in batch]
    assert {row["key"]: row["image"] for row in rows} == dict(curated.images)
    for number in range(SAMPLES):
        row = next(row for row in rows if row["key"] == key_of(number))
        assert row["format"] == ("jpg", "png", "webp")[number % 3]


def test_images__are_made_smaller_but_never_larger(curated: Curated) -> None:
    for batch in read(curated, images="true", size=50):
        for row in batch:
            original = Image.open(io.BytesIO(curated.images[row["key"]]))
            image = Image.open(io.BytesIO(row["image"]))
            assert image.size == (min(50, original.width),) * 2
            if original.width <= 50:
                assert row["image"] == curated.images[row["key"]]
            else:
                assert row["format"] == "jpg"


def test_schema__says_what_the_stream_is_made_of(curated: Curated) -> None:
    answer = httpx.get(curated.url, timeout=60, params={"global_batch": 8, "start": 2, "seed": 5})
    with pa.ipc.open_stream(answer.content) as reader:
        metadata = {name.decode(): value.decode() for name, value in reader.schema.metadata.items()}
    assert metadata["content_hash"] == curated.curation.content_hash == answer.headers["Cocu-Content-Hash"]
    assert metadata["batches"] == answer.headers["Cocu-Batches"] == "7"
    assert (metadata["start"], metadata["seed"], metadata["samples"]) == ("2", "5", str(SAMPLES))
