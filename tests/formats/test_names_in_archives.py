"""What belongs together by its name, in a folder, a tar and a zip alike."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cocu.formats.columns import Columns
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, open_reading
from cocu.formats.rejections import Reason, Rejection

from .archives import picture, read, reasons, tar_of, zip_of
from .test_caption_tables import coco

Members = list[tuple[str, bytes]]
Read = Callable[..., tuple[list[RawSample], list[Rejection]]]
ALL = ReadOptions(captions=CaptionChoice.ALL)
NFD = unicodedata.normalize("NFD", "été")


@pytest.fixture(params=["tar", "zip", "folder"])
def read_members(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    def read_them(
        members: Members, options: ReadOptions | None = None
    ) -> tuple[list[RawSample], list[Rejection]]:
        if request.param != "folder":
            return read(tar_of(members) if request.param == "tar" else zip_of(members), options=options)
        for name, content in members:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return read(tmp_path, options=options)

    return read_them


def captions_of(samples: list[RawSample]) -> dict[str, str]:
    return {sample.key: sample.caption for sample in samples}


@pytest.mark.parametrize("ending", ["txt", "TXT", "caption", "Caption", "captions", "cap", "text", "jpg.txt"])
def test_captions_of_any_usual_ending(read_members: Read, ending: str) -> None:
    samples, rejections = read_members([("x/a.JPG", picture(1)), (f"x/a.{ending}", b"a dog")])
    assert (captions_of(samples), rejections) == ({"x/a": "a dog"}, [])


@pytest.mark.parametrize("ending", ["jpe", "JFIF", "jpeg", "JPEG"])
def test_images_of_any_usual_ending(read_members: Read, ending: str) -> None:
    samples, rejections = read_members([(f"a.{ending}", picture(1)), ("a.txt", b"a dog")])
    assert (captions_of(samples), rejections) == ({"a": "a dog"}, [])


def test_the_txt_comes_first_and_another_ending_stands_in_for_one_that_is_bad(read_members: Read) -> None:
    members = [("a.jpg", picture(1)), ("a.caption", b"second"), ("a.txt", b"first")]
    members += [("b.jpg", picture(2)), ("b.txt", b" "), ("b.caption", b"second")]
    assert captions_of(read_members(members, ALL)[0]) == {"a": "first", "b": "second"}


def test_a_caption_without_an_image_is_told_whatever_its_ending(read_members: Read) -> None:
    members = [("a.jpg", picture(1)), ("a.txt", b"x"), ("b.caption", b"y"), ("c.json", b'{"caption": "z"}')]
    assert reasons(read_members(members)[1]) == [("b", Reason.MISSING_IMAGE), ("c", Reason.MISSING_IMAGE)]


@pytest.mark.parametrize(
    ("document", "stated"),
    [
        ({"captions": ["one", "two"]}, ["one", "two"]),
        ({"texts": ["one", 5, None, " ", "two"]}, ["one", "two"]),
        ({"sentences": [{"raw": "one", "tokens": ["one"]}, {"raw": "two"}]}, ["one", "two"]),
        ({"Caption": "one"}, ["one"]),
        ({"alt_text": "one", "width": 5}, ["one"]),
        ({"caption": "one", "text": "two"}, ["one"]),
        ({"caption": "one", "exif": "x" * 200_000}, ["one"]),
        ({"deep": [[["x"] * 9] * 9] * 999, "captions": ["one", "two"]}, ["one", "two"]),
    ],
)
def test_captions_in_json_by_field_and_however_large_it_is(
    read_members: Read, document: dict[str, object], stated: list[str]
) -> None:
    members = [("a.jpg", picture(1)), ("a.json", json.dumps(document).encode())]
    samples, rejections = read_members(members, ALL)
    assert ([sample.caption for sample in samples], rejections) == (stated, [])
    samples, _ = read_members(members)
    assert captions_of(samples) == {"a": stated[0]}


def test_the_field_that_was_asked_for_comes_before_everything_else(read_members: Read) -> None:
    options = ReadOptions(columns=Columns(caption="re_caption"))
    members = [
        ("a.jpg", picture(1)),
        ("a.txt", b"alt"),
        ("a.json", b'{"re_caption": "asked", "caption": "x"}'),
    ]
    members += [("b.jpg", picture(2)), ("b.txt", b"alt"), ("b.json", b'{"caption": "x"}')]
    assert captions_of(read_members(members, options)[0]) == {"a": "asked", "b": "alt"}


def test_unicode_forms_are_the_same_name_and_keys_stay_as_written(read_members: Read) -> None:
    members = [(f"{NFD}.jpg", picture(1)), ("été.txt", b"a dog"), (f"{NFD}.json", b'{"licence": 4}')]
    samples, rejections = read_members(members)
    assert [(s.key, s.caption, s.metadata, rejections) for s in samples] == [
        (NFD, "a dog", {"licence": 4}, [])
    ]


def test_tables_name_images_in_any_spelling(read_members: Read) -> None:
    images = [(f"set/{NFD}/1.JPG", picture(1)), ("set/b/2.jpg", picture(2)), ("set/b/3.jpg", picture(3))]
    table = coco({"été/1.jpg": ["one"], "old\\2.jpg": ["two"], "./set//b/3.jpeg": ["three"]})
    samples, rejections = read_members([*images, ("captions.json", table)])
    assert [sample.caption for sample in sorted(samples, key=lambda sample: sample.image)] == [
        caption
        for _, caption in sorted(zip([data for _, data in images], ["one", "two", "three"], strict=True))
    ]
    assert rejections == []


def test_a_table_that_could_mean_several_images_is_not_guessed(read_members: Read) -> None:
    images = [("train/1.jpg", picture(1)), ("val/1.jpg", picture(2)), ("val/2.jpg", picture(3))]
    samples, rejections = read_members([*images, ("captions.json", coco({"1.jpg": ["a"], "2.jpg": ["b"]}))])
    assert captions_of(samples) == {"val/2": "b"}
    assert sorted(reasons(rejections), key=str) == [
        ("train/1", Reason.MISSING_CAPTION),
        ("val/1", Reason.MISSING_CAPTION),
        (None, Reason.AMBIGUOUS_NAME),
    ]


def test_names_that_differ_in_dots_or_case_alone_are_samples_each() -> None:
    members = [("a.b.jpg", picture(1)), ("a.b.txt", b"1"), ("a_b.jpg", picture(2)), ("a_b.txt", b"2")]
    members += [("A_b.jpg", picture(3)), ("A_b.txt", b"3")]
    samples, rejections = read(zip_of(members))
    assert [sample.caption for sample in samples] == ["1", "2", "3"]
    assert len({sample.key for sample in samples}) == 3
    assert rejections == []


def test_two_images_of_one_name_that_a_table_tells_apart_are_samples_each(read_members: Read) -> None:
    table = b'{"file_name": "a.jpg", "text": "1"}\n{"file_name": "a.png", "text": "2"}'
    members = [("a.jpg", picture(1)), ("a.png", picture(2, "PNG")), ("metadata.jsonl", table)]
    samples, rejections = read_members(members)
    assert [sample.caption for sample in samples] == ["1", "2"]
    assert rejections == []


def test_names_with_a_dot_in_front_are_counted_in_one_line(read_members: Read) -> None:
    hidden = [(f".{n}.jpg", picture(n)) for n in range(20)] + [("..%2fz.jpg", picture(30))]
    noise = [("._a.jpg", b"x"), (".DS_Store", b"x"), ("__MACOSX/._a.jpg", b"x"), ("Thumbs.db", b"x")]
    samples, rejections = read_members([*hidden, *noise, ("a.jpg", picture(1)), ("a.txt", b"x")])
    assert captions_of(samples) == {"a": "x"}
    assert reasons(rejections) == [(None, Reason.PASSED_OVER)]
    assert "21 files whose names begin with a dot" in rejections[0].detail


def test_tables_of_other_names_are_told() -> None:
    members = [("a.jpg", picture(1)), ("a.txt", b"x"), ("captions.csv", b"a,b"), ("x.jsonl", b"{}")]
    (rejection,) = read(tar_of(members))[1]
    assert (rejection.reason, rejection.member) == (Reason.PASSED_OVER, "captions.csv")
    (rejection,) = read(tar_of(members[2:]))[1]
    assert (rejection.reason, "captions.csv" in rejection.detail) == (Reason.NO_SAMPLES, True)


def test_zips_of_windows_and_macos() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in (("photos\\1.jpg", picture(1)), ("photos\\1.txt", b"a dog")):
            opened.writestr(name, content)
        for name, content in ((f"{NFD}/1.jpg", picture(2)), (f"{NFD}/1.txt", b"a cat")):
            opened.writestr(name, content)
    # macOS does not say that its names are UTF-8.
    data = bytearray(archive.getvalue())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            data[start + at + 1] &= ~0x08
    samples, rejections = read(io.BytesIO(bytes(data)))
    assert (captions_of(samples), rejections) == ({"photos/1": "a dog", f"{NFD}/1": "a cat"}, [])


def test_two_images_of_one_path_each_with_a_caption_by_its_whole_name(read_members: Read) -> None:
    pictures = [("a.jpg", picture(1)), ("a.png", picture(2, "PNG")), ("a.txt", b"a dog")]
    samples, rejections = read_members([*pictures, ("a.png.txt", b"a cat")])
    assert [sample.caption for sample in samples] == ["a dog", "a cat"]
    assert (len({sample.key for sample in samples}), rejections) == (2, [])


@pytest.mark.parametrize("name", ["captions.txt", "text.txt", "cap.caption", "x/caption.txt"])
def test_a_text_without_an_image_is_told_whatever_its_name(read_members: Read, name: str) -> None:
    _, rejections = read_members([("x/a.jpg", picture(1)), ("x/a.txt", b"a dog"), (name, b"a cat")])
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [
        (name, Reason.MISSING_IMAGE)
    ]


def test_an_empty_field_does_not_hide_a_good_one(read_members: Read) -> None:
    fields = json.dumps({"caption": " ", "text": "a dog"}).encode()
    samples, rejections = read_members([("a.jpg", picture(1)), ("a.json", fields)])
    assert (captions_of(samples), rejections) == ({"a": "a dog"}, [])


def test_without_a_caption_it_is_said_what_there_is(read_members: Read) -> None:
    members = [
        ("a.jpg", picture(1)),
        ("a.json", b'{"prompt": "a dog"}'),
        ("list.json", b'[{"image": "a.jpg"}]'),
    ]
    samples, rejections = read_members(members)
    assert samples == []
    assert [(rejection.member, rejection.reason) for rejection in rejections] == [
        ("a.jpg", Reason.MISSING_CAPTION),
        ("list.json", Reason.PASSED_OVER),
    ]
    assert "'prompt': name one of these as caption_column" in rejections[0].detail


def test_a_caption_column_that_is_not_there_is_noted() -> None:
    table = b"file_name,caption,better\nb.jpg,x,a cow\n"
    members = [
        *(("a.jpg", picture(1)), ("a.txt", b"a dog"), ("b.jpg", picture(2)), ("metadata.csv", table)),
        *(("c.jpg", picture(3)), ("c.json", b'{"better": "a cat"}')),
    ]
    options = ReadOptions(columns=Columns(caption="better"))
    with open_reading(tar_of(members), options=options) as reading:
        samples = [sample for sample in reading.samples() if isinstance(sample, RawSample)]
    assert captions_of(samples) == {"a": "a dog", "b": "a cow", "c": "a cat"}
    assert reading.notes.others == {"caption_column 'better' is not there": 1}
