"""Captions in JSON of any shape: beside an image, in tables, in COCO's files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from cocu.formats.notes import METADATA_DAMAGED, METADATA_TOO_LARGE, NAMES_REPEATED
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, open_reading
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, read, reasons, tar_of

ALL = ReadOptions(captions=CaptionChoice.ALL)
LONG = "x" * 70_000


def read_with_notes(source: io.BytesIO | Path) -> tuple[list[RawSample], list[Rejection], dict[str, int]]:
    with open_reading(source, options=ALL) as reading:
        items = list(reading.samples())
        samples = [item for item in items if isinstance(item, RawSample)]
        rejections = [item for item in items if isinstance(item, Rejection)]
        return samples, rejections, reading.notes.counts()


def captions_of(document: str) -> list[str]:
    samples, rejections, _ = read_with_notes(tar_of([("a.jpg", picture(1)), ("a.json", document.encode())]))
    assert rejections == []
    return [sample.caption for sample in samples]


@pytest.mark.parametrize(
    ("document", "captions"),
    [
        ("a dog", ["a dog"]),
        (["a dog", "a puppy"], ["a dog", "a puppy"]),
        ([{"text": "a dog"}, {"caption": "a puppy"}, {"raw": "a pup"}], ["a dog", "a puppy", "a pup"]),
        ({"caption": {"text": "a dog"}}, ["a dog"]),
        ({"caption": {"text": ["a dog", "a puppy"]}}, ["a dog", "a puppy"]),
        ({"captions": [{"text": "a dog"}, {"caption": "a puppy"}, {"raw": "x"}]}, ["a dog", "a puppy", "x"]),
        ({"captions": [{"raw": "a dog", "text": "A DOG"}]}, ["a dog"]),
        ({"captions": [["a dog", "a puppy"], ["x"]]}, ["a dog", "a puppy", "x"]),
        ({"captions": [{"caption": {"text": "a dog"}}]}, ["a dog"]),
        ({"caption": {"raw": " ", "text": "a dog"}}, ["a dog"]),
        ({"caption": {"text": " "}, "text": "a dog"}, ["a dog"]),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_captions_are_found_in_any_usual_shape_and_size(
    document: object, captions: list[str], large: bool
) -> None:
    if large and isinstance(document, dict):
        document = {"exif": LONG, "boxes": [[{"caption": "no"}]]} | document
    elif large and isinstance(document, list):
        document = [*document, {"tokens": LONG}]
    assert captions_of(json.dumps(document)) == captions


@pytest.mark.parametrize("document", [{"caption": {"en": "a dog"}}, {"annotation": {"caption": "x"}}, 5, []])
def test_what_is_in_no_usual_place_is_not_guessed(document: object) -> None:
    _, rejections = read(tar_of([("a.jpg", picture(1)), ("a.json", json.dumps(document).encode())]))
    assert reasons(rejections) == [("a", Reason.MISSING_CAPTION)]


@pytest.mark.parametrize("document", ['"a dog"', '["a dog"]', '{"caption": {"text": "a dog"}}'])
def test_a_caption_of_no_image_is_told_whatever_its_shape(document: str) -> None:
    members = [("a.jpg", picture(1)), ("a.txt", b"x"), ("b.json", document.encode())]
    assert reasons(read(tar_of(members))[1]) == [("b", Reason.MISSING_IMAGE)]


@pytest.mark.parametrize(
    "document",
    [
        '{"caption": "a dog", "size": 12',
        '{"caption": "a dog", "deep": ' + "[" * 40 + "]" * 40 + "}",
        '{"caption": "a dog", size: 12}',
    ],
)
def test_of_a_damaged_json_the_caption_is_kept_and_the_rest_counted(document: str) -> None:
    samples, rejections, notes = read_with_notes(
        tar_of([("a.jpg", picture(1)), ("a.json", document.encode())])
    )
    assert [(sample.caption, sample.metadata) for sample in samples] == [("a dog", {"caption": "a dog"})]
    assert (rejections, notes) == ([], {METADATA_DAMAGED: 1})


def test_metadata_that_is_too_large_is_counted() -> None:
    document = json.dumps({"caption": "a dog", "exif": LONG}).encode()
    samples, rejections, notes = read_with_notes(tar_of([("a.jpg", picture(1)), ("a.json", document)]))
    assert [(sample.caption, sample.metadata) for sample in samples] == [("a dog", {"caption": "a dog"})]
    assert (rejections, notes) == ([], {METADATA_TOO_LARGE: 1})


def test_a_large_json_in_another_encoding_is_decoded_as_a_small_one() -> None:
    document = json.dumps({"caption": "ein Mädchen", "exif": LONG}, ensure_ascii=False).encode("cp1252")
    samples, _, notes = read_with_notes(tar_of([("a.jpg", picture(1)), ("a.json", document)]))
    assert [sample.caption for sample in samples] == ["ein Mädchen"]
    assert notes["encoding_guessed: cp1252"] == 1


@pytest.mark.parametrize("large", ["", LONG])
def test_of_a_name_that_is_there_twice_the_last_value_is_used_and_counted(large: str) -> None:
    document = f'{{"exif": "{large}", "caption": "first", "caption": "last"}}'
    assert captions_of(document) == ["last"]
    table = b'{"file_name": "a.jpg", "text": "first", "text": "last"}\n'
    for name, data in (("a.json", document.encode()), ("metadata.jsonl", table)):
        samples, _, notes = read_with_notes(tar_of([("a.jpg", picture(1)), (name, data)]))
        assert [sample.caption for sample in samples] == ["last"]
        assert NAMES_REPEATED in notes or large


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e999", "9" * 5000, "123456789012345678901234567890"]
)
def test_numbers_that_no_column_holds_cost_no_caption(number: str) -> None:
    fields = f'"n": {number}, "caption": "a dog"'
    table = f'{{"file_name": "a.jpg", {fields}}}\n'
    coco = (
        f'{{"info": {number}, "images": [{{"id": 1, "file_name": "a.jpg", "n": {number}}}], '
        f'"annotations": [{{"image_id": 1, {fields}}}]}}'
    )
    for name, text in (("a.json", f"{{{fields}}}"), ("metadata.jsonl", table), ("captions.json", coco)):
        samples, rejections = read(tar_of([("a.jpg", picture(1)), (name, text.encode())]))
        assert ([sample.caption for sample in samples], rejections) == (["a dog"], []), name


def test_ids_beyond_64_bits_stay_apart() -> None:
    first, second = 1 << 70, (1 << 70) + 1
    document = {
        "images": [{"id": first, "file_name": "a.jpg"}, {"id": second, "file_name": "b.jpg"}],
        "annotations": [{"image_id": second, "caption": "b"}, {"image_id": first, "caption": "a"}],
    }
    members = [("a.jpg", picture(1)), ("b.jpg", picture(2)), ("c.json", json.dumps(document).encode())]
    samples, rejections = read(tar_of(members))
    assert ({sample.key: sample.caption for sample in samples}, rejections) == ({"a": "a", "b": "b"}, [])


def test_what_a_coco_file_says_of_no_image_is_counted() -> None:
    document = """{
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"},
                   {"id": NaN, "file_name": "c"}, {"id": 2}, {"id": 3, "file_name": "d.jpg"}],
        "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": NaN, "caption": "x"},
                        {"image_id": 3, "caption": null}, {"image_id": 3, "caption": "a dog"},
                        {"image_id": 3, "bbox": [0, 0, 1, 1]}]}"""
    images = [(f"{name}.jpg", picture(number)) for number, name in enumerate("abd")]
    samples, rejections = read(tar_of([*images, ("captions.json", document.encode())]))
    assert {sample.key: sample.caption for sample in samples} == {"d": "a dog"}
    assert [(rejection.reason, rejection.detail) for rejection in rejections if rejection.key is None] == [
        (Reason.BAD_ROW, "2 of its `images` without a file_name, or without an id that is a number or text"),
        (Reason.BAD_ROW, "2 captions that are no text, or without an image_id"),
        (Reason.BAD_ROW, "1 ids that several of its `images` have; their captions are of no image"),
    ]
    assert reasons(rejections)[3:] == [("a", Reason.MISSING_CAPTION), ("b", Reason.MISSING_CAPTION)]


def test_rows_of_jsonl_state_captions_in_the_same_shapes() -> None:
    rows = [{"text": {"text": "1"}}, {"captions": [{"raw": "2"}]}, {"sentences": ["3"]}, {"text": None}]
    lines = [json.dumps({"file_name": f"{number}.jpg"} | row) for number, row in enumerate(rows)]
    members = [(f"{number}.jpg", picture(number)) for number in range(4)]
    samples, rejections = read(
        tar_of([*members, ("metadata.jsonl", "\n".join([*lines, "[1]", "{"]).encode())])
    )
    assert [sample.caption for sample in samples] == ["1", "2", "3"]
    assert reasons(rejections) == [
        (None, Reason.BAD_ROW),
        (None, Reason.BAD_ROW),
        ("3", Reason.MISSING_CAPTION),
    ]
