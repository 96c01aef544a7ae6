from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import Curated

from cocu.client import ClientError, CocuClient, InvalidInputError, NotFoundError, read_labels
from cocu.schemas import CocoInstances

LABELS = {"plain": ["dog", "bench", "tree"], "with space": ["car", "tree", "cat"], "folder/inside": ["cat"]}


def test_evaluation__measures_captions_and_archives(client: CocuClient, curated: Curated) -> None:
    evaluation = client.evaluations.create(curated.curation.id, labels=LABELS)
    caption, archive = evaluation.row("caption").metrics, evaluation.row("archive").metrics
    assert evaluation.images == 3
    assert evaluation.images_missing == 2
    assert caption["recall"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert archive["recall"] >= caption["recall"]
    assert caption["missing recall"] == 0.0
    assert archive["missing recall"] > 0.0
    with pytest.raises(KeyError):
        evaluation.row("other")


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
    evaluation = client.evaluations.create(curated.curation.id, instances=instances)
    assert (evaluation.images, evaluation.label_map) == (2, "coco")
    assert evaluation.row("caption").metrics["recall"] == 0.5


def test_evaluation__keys_that_are_not_there_are_counted_or_refused(
    client: CocuClient, curated: Curated
) -> None:
    evaluation = client.evaluations.create(curated.curation.id, labels={**LABELS, "elsewhere": ["dog"]})
    assert evaluation.details["labels_without_sample"] == 1
    with pytest.raises(InvalidInputError, match="None of the 1 labelled keys"):
        client.evaluations.create(curated.curation.id, labels={"elsewhere": ["dog"]})


@pytest.mark.parametrize(
    "spelt",
    [
        {"plain.jpg": ["dog"], "with space.PNG": ["car"], "inside.jpeg": ["cat"]},
        {"val/plain": ["dog"], "val/with space": ["car"], "./folder//inside.jpg": ["cat"]},
        {"photos\\plain.jpg": ["dog"], "other/with space": ["car"], "a/folder/inside": ["cat"]},
    ],
)
def test_evaluation__labels_are_matched_however_the_images_are_named(
    client: CocuClient, curated: Curated, spelt: dict[str, list[str]]
) -> None:
    expected = {"plain": ["dog"], "with space": ["car"], "folder/inside": ["cat"]}
    evaluation = client.evaluations.create(curated.curation.id, labels=spelt)
    same = client.evaluations.create(curated.curation.id, labels=expected)
    assert (evaluation.images, evaluation.rows) == (3, same.rows)
    assert evaluation.details["labels_without_sample"] == evaluation.details["labels_ambiguous"] == 0


def test_evaluation__what_was_not_matched_is_counted_and_kept(client: CocuClient, curated: Curated) -> None:
    labels = {"plain": ["dog"], "x/inside": ["cat"], "y/inside": ["cat"], "elsewhere/1.jpg": ["dog"]}
    evaluation = client.evaluations.create(curated.curation.id, labels=labels)
    details = client.evaluations.get(curated.curation.id, evaluation.id).details
    assert evaluation.images == 1
    assert (details["labels"], details["labels_without_sample"], details["labels_ambiguous"]) == (4, 1, 2)
    assert details["without_sample"] == ["elsewhere/1.jpg"]
    assert sorted(details["ambiguous"]) == ["x/inside", "y/inside"]


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


NAMED = {key: labels for key, labels in LABELS.items() if "/" not in key}
IMAGES = [{"id": number, "file_name": f"{key}.jpg"} for number, key in enumerate(sorted(NAMED))]
NAMES = sorted({label for labels in NAMED.values() for label in labels})
CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
BOXES = [
    {"image_id": image["id"], "category_id": NAMES.index(label)}
    for image, key in zip(IMAGES, sorted(NAMED), strict=True)
    for label in NAMED[key]
]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"annotations": [*BOXES, {"image_id": 0, "caption": "a dog"}]},
        {"annotations": [{**box, "category_id": str(box["category_id"])} for box in BOXES]},
        {
            "images": [{**image, "id": f"img-{image['id']}"} for image in IMAGES],
            "annotations": [{**box, "image_id": f"img-{box['image_id']}"} for box in BOXES],
        },
        {
            "annotations": [
                {"image_id": box["image_id"], "segments_info": [{"id": 7, "category_id": box["category_id"]}]}
                for box in BOXES
            ]
        },
        {"annotations": [{**box, "segmentation": None, "iscrowd": 0} for box in BOXES], "licenses": []},
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_coco_files_of_other_tools_say_the_same(
    client: CocuClient, curated: Curated, tmp_path: Path, change: dict[str, object], encoding: str
) -> None:
    document = {"images": IMAGES, "annotations": BOXES, "categories": CATEGORIES} | change
    (tmp_path / "labels.json").write_text(json.dumps(document), encoding=encoding)
    labels = read_labels(tmp_path / "labels.json")
    assert isinstance(labels, CocoInstances)
    evaluation = client.evaluations.create(curated.curation.id, instances=labels)
    plain = client.evaluations.create(curated.curation.id, labels=NAMED, label_map="coco")
    assert (evaluation.images, evaluation.rows) == (plain.images, plain.rows)


def test_read_labels__says_where_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"images": [{"id": 1}], "annotations": [], "categories": []}')
    with pytest.raises(ClientError, match=r"images\.0\.file_name"):
        read_labels(tmp_path / "labels.json")


LARGE = 2**70


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": ["dog"], "b": [], "a": ["cat"]}', "'a' is there twice"),
        (b'{"samples": {"a": ["dog"], "a": ["cat"]}}', "'a' is there twice"),
        (b'{"a": NaN}', "labels.a"),
        (b'{"a": [' + str(LARGE).encode() + b"]}", r"labels.a.0"),
        (b'{"a": [' + b"9" * 5_000 + b"]}", "cannot read labels"),
        (b"[" * 200_000, "cannot read labels"),
    ],
    ids=["twice", "twice in samples", "NaN", "large", "of 5,000 digits", "deep"],
)
def test_read_labels__says_what_it_cannot_take(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(ClientError, match=words):
        read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252", "gb18030", "utf-16"])
def test_read_labels__in_the_encoding_that_fits(tmp_path: Path, encoding: str) -> None:
    named = {"cp1251": "красный автомобиль", "gb18030": "红色的消防车停在路边"}.get(
        encoding, "une forêt brûlée à côté"
    )
    (tmp_path / "labels.json").write_bytes(json.dumps({"a": [named]}, ensure_ascii=False).encode(encoding))
    assert read_labels(tmp_path / "labels.json") == {"a": [named]}


def test_coco_files_may_hold_what_is_no_json_beside_their_categories(
    client: CocuClient, curated: Curated, tmp_path: Path
) -> None:
    boxes = [{**box, "bbox": [float("nan"), 0, 1, float("inf")], "area": LARGE, "id": LARGE} for box in BOXES]
    document = {"images": IMAGES, "annotations": boxes, "categories": CATEGORIES}
    (tmp_path / "labels.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "labels.json")
    assert isinstance(labels, CocoInstances)
    evaluation = client.evaluations.create(curated.curation.id, instances=labels)
    assert evaluation.images == client.evaluations.create(curated.curation.id, labels=NAMED).images


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"labels": {"a": ["dog"], "a": ["cat"]}}', 422),
        (b'{"labels": {"a": [NaN]}}', 400),
        (b'{"labels": {"a": [%d]}}' % LARGE, 400),
        (b'{"instances": {"images": [{"id": %d, "file_name": "a.jpg"}]}}' % LARGE, 400),
    ],
    ids=["twice", "NaN", "large label", "large id"],
)
def test_evaluation__says_what_it_cannot_take(
    http: httpx.Client, curated: Curated, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/v1/curations/{curated.curation.id}/evaluations"
    answer = http.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert (
        "is there twice" in problem["errors"][0]["problem"]
        if status == 422
        else "64 bits" in problem["detail"]
    )
