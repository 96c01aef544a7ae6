"""Archives whose captions are in one file."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.datasets.caption_tables import BadTableError, read_coco
from cocu.datasets.limits import Limits
from cocu.datasets.options import CaptionChoice, ReadOptions
from cocu.datasets.reading import RawSample
from cocu.datasets.rejections import Reason

from .archives import picture, read, reasons, tar_of, zip_of

IMAGES = [("train/one.jpg", picture(1)), ("train/sub/two.jpg", picture(2))]


def coco(captions: dict[str, list[str]], **extra: Any) -> bytes:
    """As COCO has it: ids, with the annotations in an order of their own."""
    images = [{"id": number, "file_name": name, "license": 1} for number, name in enumerate(captions)]
    annotations = [
        {"id": 100 * turn + number, "image_id": number, "caption": texts[turn]}
        for turn in range(max(map(len, captions.values())))
        for number, texts in enumerate(captions.values())
        if turn < len(texts)
    ]
    document = {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": annotations} | extra
    return json.dumps(document, indent=1).encode()


def captions_of(samples: list[RawSample]) -> dict[str, str]:
    return {sample.key: sample.caption for sample in samples}


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_image_folder__captions_by_file_name_from_the_table_s_folder_on(pack: Any) -> None:
    lines = [
        {"file_name": "one.jpg", "text": "a dog", "author": "me", "boxes": [[1, 2]]},
        {"file_name": "sub/two.jpg", "text": "a cat"},
    ]
    table = "\n".join(map(json.dumps, lines)).encode()
    samples, rejections = read(pack([*IMAGES, ("train/metadata.jsonl", table)]))
    assert rejections == []
    assert captions_of(samples) == {"train/one": "a dog", "train/sub/two": "a cat"}
    assert samples[0].metadata == {"author": "me"}


def test_image_folder__as_csv_with_quotes_and_newlines(tmp_path: Path) -> None:
    target = io.StringIO(newline="")
    csv.writer(target).writerows([["file_name", "caption"], ["a.jpg", 'a "big"\ndog, sitting'], ["b.jpg"]])
    (tmp_path / "metadata.csv").write_bytes(target.getvalue().encode())
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "b.jpg").write_bytes(picture(2))
    samples, rejections = read(tmp_path)
    assert captions_of(samples) == {"a": 'a "big"\ndog, sitting'}
    assert reasons(rejections) == [("b", Reason.MISSING_CAPTION)]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (CaptionChoice.FIRST, {"val2017/7": "one"}),
        (CaptionChoice.ALL, {"val2017/7-0": "one", "val2017/7-1": "two", "val2017/7-2": "three"}),
    ],
)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_coco__images_and_annotations_in_folders_of_their_own(
    pack: Any, choice: CaptionChoice, found: dict[str, str]
) -> None:
    table = coco({"7.jpg": ["one", "two", "three"]})
    members = [("annotations/captions_val2017.json", table), ("val2017/7.jpg", picture())]
    for order in (members, members[::-1]):
        samples, rejections = read(pack(order), options=ReadOptions(captions=choice))
        assert rejections == []
        assert captions_of(samples) == found
        assert {sample.image for sample in samples} == {picture()}


def test_coco__what_lacks_its_counterpart_is_reported_once() -> None:
    table = coco({f"{number}.jpg": ["a dog"] for number in range(1000)})
    members = [("captions.json", table), ("1.jpg", picture()), ("other.jpg", picture())]
    samples, rejections = read(tar_of(members))
    assert captions_of(samples) == {"1": "a dog"}
    assert reasons(rejections) == [("other", Reason.MISSING_CAPTION), (None, Reason.MISSING_IMAGE)]
    assert "999 of the 1000" in rejections[1].detail


def test_coco__instances_beside_the_captions_are_no_captions() -> None:
    instances = {"images": [{"id": 0, "file_name": "a.jpg"}], "annotations": [{"image_id": 0, "bbox": [1]}]}
    members = [
        ("annotations/instances.json", json.dumps(instances).encode()),
        ("annotations/captions.json", coco({"a.jpg": ["a dog"]})),
        ("a.jpg", picture()),
    ]
    samples, rejections = read(zip_of(members))
    assert captions_of(samples) == {"a": "a dog"}
    assert rejections == []


def test_a_sample_s_own_caption_comes_before_the_table_s() -> None:
    members = [("captions.json", coco({"a.jpg": ["a dog"], "b.jpg": ["a cat"]})), ("a.jpg", picture(1))]
    members += [("a.txt", b"my own"), ("b.jpg", picture(2)), ("b.txt", b"  ")]
    samples, rejections = read(tar_of(members))
    assert captions_of(samples) == {"a": "my own", "b": "a cat"}
    assert rejections == []


def test_one_image_cannot_become_very_many_samples() -> None:
    members = [
        ("captions.json", coco({"a.jpg": [f"caption {n}" for n in range(5000)]})),
        ("a.jpg", picture()),
    ]
    samples, rejections = read(tar_of(members), options=ReadOptions(captions=CaptionChoice.ALL))
    assert len(samples) == Limits().max_captions
    assert reasons(rejections) == [("a", Reason.TOO_MANY_CAPTIONS)]


def test_keys_made_of_captions_do_not_displace_others() -> None:
    members = [("a-1.jpg", picture(1)), ("a-1.txt", b"alone")]
    members += [("captions.json", coco({"a.jpg": ["one", "two"]})), ("a.jpg", picture())]
    samples, rejections = read(tar_of(members), options=ReadOptions(captions=CaptionChoice.ALL))
    assert captions_of(samples) == {"a-1": "alone", "a-0": "one"}
    assert reasons(rejections) == [("a-1", Reason.DUPLICATE_KEY)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", b'{"file_name": "one.jpg"}'),
        ("metadata.jsonl", b"[" * 100_000),
        ("metadata.jsonl", b'{"file_name": ' + b"[" * 100_000),
        ("metadata.csv", b"a,b\n1,2\n"),
        ("metadata.csv", b'file_name,text\none.jpg,"' + b"x" * 300_000),
        ("captions.json", coco({"one.jpg": ["a dog", "a cat"]})[:-40]),
        ("captions.json", coco({"one.jpg": ["a dog"]}, info="x" * 100_000)),
        ("captions.json", b'{"images": 1, "annotations": [' + b"[" * 100_000 + b'"caption"'),
        ("captions.json", b'["images", "annotations", "caption"]'),
    ],
)
def test_bad_tables_are_reported_and_the_rest_is_read(name: str, content: bytes) -> None:
    members = [(name, content), ("one.jpg", picture(1)), ("two.jpg", picture(2)), ("two.txt", b"a cat")]
    samples, rejections = read(tar_of(members))
    assert captions_of(samples) == {"two": "a cat"}
    assert sorted(reasons(rejections), key=str) == [
        ("one", Reason.MISSING_CAPTION),
        (None, Reason.BAD_TABLE),
    ]


def test_tables_that_are_too_large() -> None:
    members = [("metadata.jsonl", b"{}" * 100), ("one.jpg", picture()), ("one.txt", b"a dog")]
    samples, rejections = read(tar_of(members), Limits(max_table_bytes=100))
    assert captions_of(samples) == {"one": "a dog"}
    assert reasons(rejections) == [(None, Reason.BAD_TABLE)]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), _json, max_size=3), st.sampled_from([None, 1]))
def test_coco__any_other_fields_change_nothing(extra: dict[str, Any], indent: int | None) -> None:
    document = extra | json.loads(coco({"a.jpg": ["a dog", "{]"], "b/c.jpg": ["]"]}))
    table = read_coco("captions.json", json.dumps(document, indent=indent).encode())
    assert {name: each.captions for name, each in table.images.items()} == {
        "a.jpg": ["a dog", "{]"],
        "b/c.jpg": ["]"],
    }


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_coco__no_bytes_raise_anything_else(raw: bytes) -> None:
    with suppress(BadTableError):
        assert read_coco("captions.json", raw).images == {}
