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

from cocu.formats.caption_tables import BadTableError
from cocu.formats.coco import read_coco
from cocu.formats.limits import Limits
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample
from cocu.formats.rejections import Reason

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
    assert reasons(rejections) == [(None, Reason.BAD_ROW), ("b", Reason.MISSING_CAPTION)]
    assert "line 4: 1 cell where the header has 2" in rejections[0].detail


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (CaptionChoice.FIRST, {"val2017/7": "one"}),
        (CaptionChoice.ALL, {"val2017/7-0": "one", "val2017/7-1": "two", "val2017/7-2": "three"}),
    ],
)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_coco__images_and_annotations_in_folders_of_their_own(
    pack: Any, choice: CaptionChoice, expected: dict[str, str]
) -> None:
    table = coco({"7.jpg": ["one", "two", "three"]})
    members = [("annotations/captions_val2017.json", table), ("val2017/7.jpg", picture())]
    for order in (members, members[::-1]):
        samples, rejections = read(pack(order), options=ReadOptions(captions=choice))
        assert rejections == []
        assert captions_of(samples) == expected
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


def test_keys_made_of_captions_displace_no_others_and_are_not_displaced() -> None:
    members = [("a-1.jpg", picture(1)), ("a-1.txt", b"alone")]
    members += [("captions.json", coco({"a.jpg": ["one", "two"]})), ("a.jpg", picture())]
    samples, rejections = read(tar_of(members), options=ReadOptions(captions=CaptionChoice.ALL))
    assert rejections == []
    assert captions_of(samples) == {"a-1": "alone", "a-0": "one", samples[2].content_key: "two"}


@pytest.mark.parametrize(
    "extra", [{"info": "x" * 100_000}, {"deep": json.loads("[" * 900 + "]" * 900)}, {"n": 10**400}]
)
def test_coco__nothing_else_in_it_costs_its_captions(extra: dict[str, Any]) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        raw = coco({"one.jpg": ["a dög"]}, **extra).decode().replace("\\u00f6", "ö").encode(encoding)
        samples, rejections = read(tar_of([("captions.json", raw), ("one.jpg", picture(1))]))
        assert (captions_of(samples), rejections) == ({"one": "a dög"}, [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", b'{"file_name": "one.jpg"}'),
        ("metadata.jsonl", b"[" * 100_000),
        ("metadata.jsonl", b'{"file_name": ' + b"[" * 100_000),
        ("metadata.csv", b"a,b\n1,2\n"),
        ("metadata.csv", b'file_name,text\none.jpg,"' + b"x" * 300_000),
        ("captions.json", coco({"one.jpg": ["a dog", "a cat"]})[:-40]),
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
    assert {name: image.captions for name, image in table.images.items()} == {
        "a.jpg": ["a dog", "{]"],
        "b/c.jpg": ["]"],
    }


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_coco__no_bytes_raise_anything_else(raw: bytes) -> None:
    with suppress(BadTableError):
        assert read_coco("captions.json", raw).images == {}


@pytest.mark.parametrize("pack", [tar_of, zip_of])
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("train/captions.csv", b"filepath,title\none.jpg,a dog\nsub/two.jpg,a cat\n"),
        ("train/pairs.tsv", b'image_path\tcaption\none.jpg\t"a dog"\nsub/two.jpg\t"a cat"\n'),
        (
            "train/all.jsonl",
            b'{"path": "one.jpg", "text": "a dog"}\n{"path": "sub/two.jpg", "text": "a cat"}\n',
        ),
        ("train/metadata.csv", b"sep=;\r\nfile_name;text\r\none.jpg;a dog\r\nsub/two.jpg;a cat\r\n"),
    ],
)
def test_any_table_that_names_members_captions_them(pack: Any, name: str, table: bytes) -> None:
    samples, rejections = read(pack([*IMAGES, (name, table)]))
    assert captions_of(samples) == {"train/one": "a dog", "train/sub/two": "a cat"}
    assert rejections == []


def test_tables_about_other_things_are_left_alone() -> None:
    members = [("one.jpg", picture(1)), ("one.txt", b"a dog"), ("sizes.csv", b"file,width\none.jpg,7\n")]
    members += [("log.jsonl", b'{"at": 1}\n'), ("one.tsv", b"\xff\x00\x01")]
    samples, rejections = read(tar_of(members))
    assert captions_of(samples) == {"one": "a dog"}
    assert [(rejection.reason, rejection.detail[:7]) for rejection in rejections] == [
        (Reason.PASSED_OVER, "3 files")
    ]


def test_rows_that_cannot_be_used_are_told_with_their_lines() -> None:
    table = (
        b"file_name,text\none.jpg,a dog, sitting\n,no name\n../up.jpg,a cat\ntwo.jpg,a cat\ntwo.jpg,again\n"
    )
    samples, rejections = read(
        zip_of([("one.jpg", picture(1)), ("two.jpg", picture(2)), ("metadata.csv", table)])
    )
    assert captions_of(samples) == {"two": "a cat"}
    bad = [rejection.detail for rejection in rejections if rejection.reason is Reason.BAD_ROW]
    assert [detail.partition(":")[0] for detail in bad] == ["line 2", "line 3", "line 4"]
    assert "3 cells where the header has 2" in bad[0]
    lines = b'{"file_name": "one.jpg", "text": "a dog"}\nno json\n{"text": "a cat"}\n'
    samples, rejections = read(tar_of([("one.jpg", picture(1)), ("metadata.jsonl", lines)]))
    assert captions_of(samples) == {"one": "a dog"}
    assert [rejection.detail.partition(":")[0] for rejection in rejections] == ["line 2", "line 3"]


def test_two_columns_of_one_name_are_kept_apart() -> None:
    table = b"file_name,text,tag,tag\none.jpg,a dog,x,y\n"
    samples, _ = read(zip_of([("one.jpg", picture(1)), ("metadata.csv", table)]))
    assert samples[0].metadata == {"tag": "x", "tag.1": "y"}


def test_two_columns_that_could_be_the_caption_make_a_bad_table() -> None:
    table = b"file_name,text,Text\none.jpg,a dog,a cat\n"
    _, rejections = read(zip_of([("one.jpg", picture(1)), ("metadata.csv", table)]))
    assert reasons(rejections) == [(None, Reason.BAD_TABLE), ("one", Reason.MISSING_CAPTION)]
    assert "two columns are called 'text'" in rejections[0].detail


def test_coco__ids_are_the_same_as_numbers_and_as_texts() -> None:
    images = [
        {"id": 1, "file_name": "train/one.jpg"},
        {"id": "2", "file_name": "train/sub/two.jpg"},
        {"id": 3.0, "file_name": "train/three.jpg"},
    ]
    annotations = [{"image_id": number, "caption": f"picture {number}"} for number in ("1", 2, 3, 4)]
    document = json.dumps({"images": images, "annotations": annotations}).encode()
    samples, rejections = read(tar_of([*IMAGES, ("train/three.jpg", picture(3)), ("c.json", document)]))
    assert [sample.caption for sample in samples] == ["picture 1", "picture 2", "picture 3"]
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [("c.json", Reason.BAD_ROW)]
    assert "1 image ids that are not" in rejections[0].detail


def test_coco__a_file_listed_twice_has_the_captions_of_both() -> None:
    images = [{"id": number, "file_name": "train/one.jpg"} for number in (1, 2)]
    annotations = [{"image_id": number, "caption": f"picture {number}"} for number in (1, 2)]
    document = json.dumps({"images": images, "annotations": annotations}).encode()
    options = ReadOptions(captions=CaptionChoice.ALL)
    samples, rejections = read(tar_of([*IMAGES[:1], ("c.json", document)]), options=options)
    assert ([sample.caption for sample in samples], rejections) == (["picture 1", "picture 2"], [])


@pytest.mark.parametrize("number", ["1e999999", "9" * 5000, "1.5"])
def test_coco__numbers_that_are_no_ids(number: str) -> None:
    images = f'[{{"id": {number}, "file_name": "a.jpg", "x": {number}}}]'
    raw = f'{{"images": {images}, "annotations": [{{"image_id": 1, "caption": "x"}}]}}'
    with suppress(BadTableError):
        assert read_coco("c.json", raw.encode()).images == {}


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e" + "9" * 5000, "1.5e-99999999", "NaN"])
def test_numbers_that_no_parser_takes_cost_nothing(number: str) -> None:
    large = f'{{"x": {number}, "caption": "a dog: {"9" * 2000}", "pad": "{"x" * 70_000}"}}'
    samples, rejections = read(tar_of([("a.jpg", picture(1)), ("a.json", large.encode("utf-16"))]))
    assert ([sample.caption[:5] for sample in samples], rejections) == (["a dog"], [])
    assert "9" * 2000 in samples[0].caption
    document = coco({"b.jpg": ["a cat"]}).replace(b'"year": 2017', f'"year": {number}'.encode())
    samples, rejections = read(tar_of([("b.jpg", picture(1)), ("c.json", document)]))
    assert ([sample.caption for sample in samples], rejections) == (["a cat"], [])


def test_two_tables_of_one_image_are_both_read() -> None:
    tables = [(f"c{number}.json", coco({"train/one.jpg": ["a dog", f"dog {number}"]})) for number in (1, 2)]
    samples, rejections = read(
        tar_of([*IMAGES[:1], *tables]), options=ReadOptions(captions=CaptionChoice.ALL)
    )
    assert ([sample.caption for sample in samples], rejections) == (["a dog", "dog 1", "dog 2"], [])
