"""Tars as people make them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from cocu.formats.limits import Limits
from cocu.formats.rejections import Reason

from .archives import keys, picture, read, reasons, tar_of, zip_of

PAIRS = [("a.jpg", picture(1)), ("a.txt", b"a dog"), ("b.jpg", picture(2)), ("b.txt", b"a cat")]


def link(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_samples_of_a_tar(mode: str, format: int) -> None:
    long = "photographs of the " + "very " * 20 + "long holiday"
    members = [
        ("x/1.jpeg", picture(1)),
        ("x/1.txt", b"a dog\n"),
        ("x/1.json", b'{"licence": 4}'),
        (f"{long}/2.WEBP", picture(2, "WEBP")),
        (f"{long}/2.txt", b"a cat"),
        ("ümläut.png", picture(3, "PNG")),
        ("ümläut.txt", "eine Möwe".encode()),
    ]
    samples, rejections = read(tar_of(members, mode, format=format))
    assert rejections == []
    assert [(s.key, s.caption, s.extension, s.metadata) for s in samples] == [
        ("x/1", "a dog", "jpg", {"licence": 4}),
        (f"{long}/2", "a cat", "webp", {}),
        ("ümläut", "eine Möwe", "png", {}),
    ]
    assert samples[0].image == picture(1)
    assert (samples[0].width, samples[0].height) == (9, 7)


def test_names_longer_than_any_field() -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = "n" * 300
        assert keys(tar_of([(f"{name}.jpg", picture()), (f"{name}.txt", b"x")], format=format)) == [name]


def test_a_tar_in_no_order_at_all_and_with_folders() -> None:
    members = [("./p/b.txt", b"b"), ("./p/a.jpg", picture(1)), ("./p/b.jpg", picture(2)), ("./p/a.txt", b"a")]
    folders = [link("./", tarfile.DIRTYPE), link("./p/", tarfile.DIRTYPE)]
    for mode in ("w", "w:gz"):
        assert keys(tar_of([*folders, *members], mode)) == ["p/a", "p/b"]


def test_the_same_name_in_two_folders_is_two_samples() -> None:
    members = [("x/a.jpg", picture(1)), ("x/a.txt", b"1"), ("y/a.jpg", picture(2)), ("y/a.txt", b"2")]
    assert keys(tar_of(members)) == ["x/a", "y/a"]


def test_what_is_not_of_a_sample_is_ignored() -> None:
    extra = [
        ("a.mask.png", b"not looked at"),
        ("a.cls", b"3"),
        ("._a.jpg", b"resource fork"),
        ("__MACOSX/a.jpg", b"resource fork"),
        (".DS_Store", b"\0"),
        ("README", b"hello"),
        ("stats.json", b"{}"),
    ]
    assert keys(tar_of([*extra, *PAIRS])) == ["a", "b"]


def test_members_that_are_not_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    members = [
        link("hard.jpg", tarfile.LNKTYPE, "a.jpg"),
        link("soft.txt", tarfile.SYMTYPE, str(secret)),
        link("device.jpg", tarfile.CHRTYPE),
        link("block.jpg", tarfile.BLKTYPE),
        link("pipe.txt", tarfile.FIFOTYPE),
        *PAIRS,
    ]
    samples, rejections = read(tar_of(members))
    assert [sample.key for sample in samples] == ["a", "b"]
    assert [(r.member, r.reason) for r in rejections] == [
        (name, Reason.NOT_A_REGULAR_FILE)
        for name in ("hard.jpg", "soft.txt", "device.jpg", "block.jpg", "pipe.txt")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd.jpg",
        "../up.jpg",
        "x/../../up.jpg",
        "..\\up.jpg",
        "\\\\host\\x.jpg",
        "C:\\x.jpg",
        "a\nb.jpg",
        "\x1b[2Jx.jpg",
    ],
)
def test_unsafe_names_are_skipped_with_a_reason(name: str) -> None:
    samples, rejections = read(tar_of([(name, picture()), *PAIRS]))
    assert [sample.key for sample in samples] == ["a", "b"]
    assert reasons(rejections) == [(None, Reason.UNSAFE_NAME)]
    assert rejections[0].member.isprintable()


def test_a_name_beyond_the_limit() -> None:
    samples, rejections = read(tar_of([("n" * 600 + ".jpg", picture()), *PAIRS]))
    assert len(samples) == 2
    assert reasons(rejections) == [(None, Reason.NAME_TOO_LONG)]
    assert len(rejections[0].member) <= 301


def test_a_name_that_is_not_utf_8_is_still_a_name() -> None:
    data = tar_of(
        [("a.jpg", picture()), ("a.txt", b"x")], format=tarfile.GNU_FORMAT, encoding="utf-8"
    ).getvalue()
    broken = bytearray(data)
    for start in (0, data.index(b"a.txt")):
        broken[start] = 0xE4
        broken[start + 148 : start + 156] = b" " * 8
        broken[start + 148 : start + 156] = b"%06o\0 " % sum(broken[start : start + 512])
    assert keys(io.BytesIO(bytes(broken))) == ["ä"]


def test_a_repeated_path_is_another_sample_and_another_image_of_a_key_is_told() -> None:
    again = [("a.jpg", picture(7)), ("a.txt", b"another dog"), ("a.png", picture(8, "PNG"))]
    samples, rejections = read(tar_of([*PAIRS, *again]))
    assert [(s.key, s.caption, s.image) for s in samples] == [
        ("a", "a dog", picture(1)),
        ("b", "a cat", picture(2)),
        (samples[2].content_key, "another dog", picture(7)),
    ]
    assert reasons(rejections) == [("a", Reason.DUPLICATE_KEY)]
    assert "a.jpg is the image" in rejections[0].detail
    samples, rejections = read(tar_of([*PAIRS, ("b.txt", b"only another caption")]))
    assert samples[1].caption == "a cat"
    assert reasons(rejections) == [("b", Reason.DUPLICATE_KEY)]


def test_missing_captions_and_images() -> None:
    members = [
        ("only.jpg", picture()),
        ("alone.txt", b"no picture"),
        ("empty.jpg", picture()),
        ("empty.txt", b"\n"),
    ]
    samples, rejections = read(tar_of([*members, *PAIRS]))
    assert [sample.key for sample in samples] == ["a", "b"]
    assert reasons(rejections) == [
        ("only", Reason.MISSING_CAPTION),
        ("empty", Reason.EMPTY_CAPTION),
        ("alone", Reason.MISSING_IMAGE),
    ]


@pytest.mark.parametrize("field", ["caption", "text"])
def test_the_caption_may_come_from_the_metadata(field: str) -> None:
    metadata = json.dumps({field: "a dog\ud800", "key": "1"}).encode()
    samples, rejections = read(tar_of([("a.jpg", picture()), ("a.json", metadata)]))
    assert (samples[0].caption, rejections) == ("a dog\ufffd", [])
    samples, _ = read(tar_of([("a.jpg", picture()), ("a.json", metadata), ("a.txt", b"a cat")]))
    assert samples[0].caption == "a cat"
    samples, _ = read(tar_of([("a.jpg", picture()), ("a.json", metadata), ("a.txt", b" ")]))
    assert samples[0].caption == "a dog\ufffd"


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"1" * 5000,
        b'{"long": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_bad_metadata_does_not_cost_the_sample(metadata: bytes) -> None:
    samples, rejections = read(tar_of([("a.jpg", picture()), ("a.json", metadata), ("a.txt", b"a dog")]))
    assert (samples[0].metadata, rejections) == ({}, [])


def test_numbers_that_json_does_not_have_become_null() -> None:
    metadata = b'{"a": NaN, "b": -Infinity, "c": 1e999, "d": 1.5}'
    samples, _ = read(tar_of([("a.jpg", picture()), ("a.json", metadata), ("a.txt", b"a dog")]))
    assert samples[0].metadata == {"a": None, "b": None, "c": None, "d": 1.5}


def test_nested_archives_are_not_opened() -> None:
    inner = tar_of(PAIRS).getvalue()
    members = [("in.tar", inner), ("in.tar.gz", gzip.compress(inner)), ("in.zip", zip_of(PAIRS).getvalue())]
    samples, rejections = read(tar_of([*members, *PAIRS]))
    assert len(samples) == 2
    assert reasons(rejections) == [(None, Reason.NESTED_ARCHIVE)] * 3


def test_images_of_other_formats_are_reported_once() -> None:
    samples, rejections = read(tar_of([("g.gif", b"GIF89a"), ("g.txt", b"a dog"), *PAIRS]))
    assert len(samples) == 2
    assert reasons(rejections) == [("g", Reason.UNSUPPORTED_IMAGE_FORMAT)]


def test_bad_images_are_reported_by_their_key() -> None:
    members = [
        ("html.jpg", b"<html>"),
        ("html.txt", b"x"),
        ("empty.jpg", b""),
        ("empty.txt", b"x"),
        ("cut.jpg", picture()[:-200]),
        ("cut.txt", b"x"),
        ("big.jpg", b"\xff" * 50_000),
        ("big.txt", b"x"),
    ]
    samples, rejections = read(tar_of([*members, *PAIRS]), Limits(max_image_bytes=49_999))
    assert [sample.key for sample in samples] == ["a", "b"]
    assert [rejection.key for rejection in rejections] == ["html", "empty", "cut", "big"]
    assert [rejection.reason for rejection in rejections][:2] == [Reason.NOT_AN_IMAGE, Reason.EMPTY_IMAGE]
    assert rejections[2].reason in (Reason.TRUNCATED_IMAGE, Reason.CORRUPT_IMAGE)
    assert rejections[3].reason is Reason.IMAGE_TOO_LARGE


def test_images_under_longer_endings_are_samples_if_they_have_captions_of_their_own() -> None:
    members = [
        ("photo.jpg", picture(3)),
        ("photo.txt", b"x"),
        ("photo.v2.jpg", picture(4)),
        ("photo.v2.txt", b"y"),
    ]
    assert keys(tar_of(members)) == ["photo", "photo_v2"]
    samples, rejections = read(tar_of([("photo.v2.jpg", picture()), *PAIRS]))
    assert len(samples) == 2
    assert reasons(rejections) == [("photo", Reason.MISSING_IMAGE)]
    assert "first dot" in rejections[0].detail
