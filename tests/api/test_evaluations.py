from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.api.conftest import Curated

from cocu.client import ClientError, CocuClient, InvalidInputError, NotFoundError, read_labels
from cocu.client.models import CocoInstances

LABELS = {"plain": ["dog", "bench", "tree"], "with space": ["car", "tree", "cat"], "folder/inside": ["cat"]}


def test_evaluation__measures_captions_and_archives(client: CocuClient, curated: Curated) -> None:
    found = client.evaluations.create(curated.curation.id, labels=LABELS)
    caption, archive = found.row("caption").metrics, found.row("archive").metrics
    assert found.images == 3
    assert found.images_missing == 2
    assert caption["recall"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert archive["recall"] >= caption["recall"]
    assert caption["missing recall"] == 0.0
    assert archive["missing recall"] > 0.0
    with pytest.raises(KeyError):
        found.row("other")


def test_evaluation__the_same_labels_are_the_same_evaluation(client: CocuClient, curated: Curated) -> None:
    first = client.evaluations.create(curated.curation.id, labels=LABELS)
    shuffled = {key: LABELS[key][::-1] + LABELS[key][:1] for key in reversed(LABELS)}
    assert client.evaluations.create(curated.curation.id, labels=shuffled) == first
    assert client.evaluations.get(curated.curation.id, first.id) == first
    assert first in list(client.evaluations.list(curated.curation.id))


def test_evaluation__of_coco_instances(client: CocuClient, curated: Curated) -> None:
    instances = CocoInstances.model_validate(
        {
            "images": [{"id": 7, "file_name": "plain.jpg", "height": 1}, {"id": 8, "file_name": "last.png"}],
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "dining table"}],
            "annotations": [
                {"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]},
                {"image_id": 8, "category_id": 2},
            ],
        }
    )
    found = client.evaluations.create(curated.curation.id, instances=instances)
    assert (found.images, found.label_map) == (2, "coco")
    assert found.row("caption").metrics["recall"] == 0.5


def test_evaluation__keys_that_are_not_there_are_counted_or_refused(
    client: CocuClient, curated: Curated
) -> None:
    found = client.evaluations.create(curated.curation.id, labels={**LABELS, "elsewhere": ["dog"]})
    assert found.details["labels_without_sample"] == 1
    with pytest.raises(InvalidInputError, match="None of the 1 labelled keys"):
        client.evaluations.create(curated.curation.id, labels={"elsewhere": ["dog"]})


def test_evaluation__wrong_labels_are_refused(client: CocuClient, curated: Curated) -> None:
    with pytest.raises(InvalidInputError, match="label map"):
        client.evaluations.create(curated.curation.id, labels=LABELS, label_map="none-such")
    with pytest.raises(InvalidInputError, match="contradicts"):
        client.evaluations.create(
            curated.curation.id,
            instances=CocoInstances.model_validate(
                {"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1}]}
            ),
        )
    with pytest.raises(NotFoundError):
        client.evaluations.create("none-such", labels=LABELS)
    with pytest.raises(NotFoundError):
        client.evaluations.get(curated.curation.id, "none-such")


def test_read_labels__of_each_form(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    for content in (LABELS, {"labels": ["dog"], "samples": LABELS}):
        file.write_text(json.dumps(content))
        assert read_labels(file) == LABELS
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert isinstance(read_labels(file), CocoInstances)
    for wrong in ("[1, 2]", "{", '{"a": 5}', '{"annotations": 3}'):
        file.write_text(wrong)
        with pytest.raises(ClientError, match="labels"):
            read_labels(file)
