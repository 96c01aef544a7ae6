"""Tars as people make, damage and forge them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.datasets.limits import Limits
from cocu.datasets.members import ArchiveEndsError, Member
from cocu.datasets.reading import Format, RawSample, read_samples
from cocu.datasets.rejections import Reason, Rejection
from cocu.datasets.tars import tar_members

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
        ("metadata.jsonl", b"{}"),
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


def test_duplicate_keys_leave_the_first() -> None:
    again = [("a.jpg", picture(7)), ("a.txt", b"another dog"), ("a.png", picture(8, "PNG"))]
    samples, rejections = read(tar_of([*PAIRS, *again]))
    assert [(s.key, s.caption, s.image) for s in samples] == [
        ("a", "a dog", picture(1)),
        ("b", "a cat", picture(2)),
    ]
    assert reasons(rejections) == [("a", Reason.DUPLICATE_KEY)]
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


def test_keys_with_dots_are_reported_not_lost() -> None:
    samples, rejections = read(tar_of([("photo.v2.jpg", picture()), ("photo.v2.txt", b"x"), *PAIRS]))
    assert len(samples) == 2
    assert reasons(rejections) == [("photo", Reason.MISSING_IMAGE)]
    assert "first dot" in rejections[0].detail


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_tail_costs_only_the_tail(mode: str) -> None:
    members = [
        member
        for n in range(20)
        for member in ((f"{n:02}.jpg", picture(n)), (f"{n:02}.txt", b"number %d" % n))
    ]
    whole = tar_of(members, mode).getvalue()
    plain = tar_of(members).getvalue()
    longest = 0
    for part in range(1, 60):
        cut = whole[: len(whole) * part // 60]
        if mode == "w":
            complete = sum(plain.index(f"{n:02}.txt".encode()) + 1024 <= len(cut) for n in range(20))
        if len(cut) < 512:
            continue
        samples, rejections = read(io.BytesIO(cut), format=Format.TAR if mode == "w" else Format.TAR_GZIP)
        assert [sample.key for sample in samples] == [f"{n:02}" for n in range(len(samples))]
        if len(samples) < 20:
            assert reasons(rejections) == [(None, Reason.TRUNCATED_ARCHIVE)]
        if mode == "w":
            assert len(samples) == complete
        longest = max(longest, len(samples))
    assert longest >= 18


def test_a_tar_without_its_end_mark_is_reported_and_complete() -> None:
    data = tar_of(PAIRS).getvalue().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    samples, rejections = read(io.BytesIO(data))
    assert len(samples) == 2
    assert reasons(rejections) == [(None, Reason.TRUNCATED_ARCHIVE)]


def test_a_damaged_header_ends_the_archive_loudly() -> None:
    data = bytearray(tar_of(PAIRS).getvalue())
    data[data.index(b"b.jpg") + 1] ^= 0xFF
    samples, rejections = read(io.BytesIO(bytes(data)))
    assert [sample.key for sample in samples] == ["a"]
    assert reasons(rejections) == [(None, Reason.CORRUPT_ARCHIVE)]


def test_a_damaged_gzip_stream() -> None:
    data = bytearray(tar_of([*PAIRS, ("c.bin", bytes(range(256)) * 500)], "w:gz").getvalue())
    data[-300] ^= 0xFF
    _, rejections = read(io.BytesIO(bytes(data)))
    assert rejections[-1].key is None
    assert rejections[-1].reason in (Reason.CORRUPT_ARCHIVE, Reason.TRUNCATED_ARCHIVE)


def test_a_gzip_bomb_is_stopped() -> None:
    tracemalloc.start()
    bomb = tar_of([*PAIRS, ("bomb.jpg", bytes(60_000_000)), ("bomb.txt", b"x")], "w:gz")
    tracemalloc.reset_peak()
    samples, rejections = read(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [sample.key for sample in samples] == ["a", "b"]
    assert reasons(rejections) == [(None, Reason.COMPRESSION_RATIO)]
    assert peak < 30_000_000


def test_limits_of_bytes_entries_and_texts() -> None:
    members = [member for n in range(9) for member in ((f"{n}.jpg", picture(n)), (f"{n}.txt", b"x" * 100))]
    for limits, reason in (
        (Limits(max_decompressed_bytes=9_000), Reason.DECOMPRESSED_TOO_LARGE),
        (Limits(max_entries=7), Reason.TOO_MANY_ENTRIES),
        (Limits(max_text_bytes=350), Reason.TEXTS_TOO_LARGE),
    ):
        samples, rejections = read(tar_of(members), limits)
        assert 1 <= len(samples) <= 4
        assert reasons(rejections) == [(None, reason)]
    assert keys(tar_of(members), Limits(max_entries=18)) == [str(n) for n in range(9)]


def test_extended_headers_may_not_fill_the_memory() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    _, rejections = read(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)))
    assert reasons(rejections) == [(None, Reason.CORRUPT_ARCHIVE)]
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 10
    chain = (name.tobuf(tarfile.GNU_FORMAT) + b"endless.jpg"[:10] + bytes(502)) * 3_000
    samples, rejections = read(io.BytesIO(chain + tar_of(PAIRS).getvalue()))
    assert len(samples) + len(rejections) >= 1


@pytest.mark.parametrize(
    "size", [b"99999999999\0", b"-0000000001\0", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"zzz\0" * 3]
)
def test_forged_sizes(size: bytes) -> None:
    block = bytearray(tarfile.TarInfo("a.jpg").tobuf())
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    _, rejections = read(io.BytesIO(bytes(block) + b"data" * 500), format=Format.TAR)
    assert rejections[-1].reason in (Reason.CORRUPT_ARCHIVE, Reason.TRUNCATED_ARCHIVE)


def test_an_empty_tar_is_reported() -> None:
    assert reasons(read(tar_of([]))[1]) == [(None, Reason.NO_SAMPLES)]
    assert reasons(read(tar_of([("data.csv", b"a,b")]))[1]) == [(None, Reason.NO_SAMPLES)]


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    # The same picture many times over: what matters is how many bytes pass by.
    big = picture() + bytes(100_000)
    peaks = []
    for count in (20, 200):
        archive = tar_of([member for n in range(count) for member in ((f"{n}.jpg", big), (f"{n}.txt", b"x"))])
        tracemalloc.start()
        for item in read_samples(archive):
            assert isinstance(item, RawSample)
            del item
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


@given(st.data())
def test_members_are_those_of_the_standard_library(data: st.DataObject) -> None:
    names = st.text(
        st.characters(min_codepoint=33, exclude_characters="\\/:\x7f", exclude_categories=("C",)),
        min_size=1,
        max_size=200,
    )
    contents = data.draw(st.dictionaries(names, st.binary(max_size=1500), max_size=6))
    format = data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    archive = tar_of(contents.items(), format=format)
    members = tar_members(archive, Limits(max_name_bytes=1000), compressed=False)
    expected = {name: content for name, content in contents.items() if name not in ("..", ".")}
    assert {m.name: m.read() for m in members if isinstance(m, Member) and m.name} == expected


@given(
    head=st.sampled_from([b"", tar_of(PAIRS).getvalue()[:2048], tar_of(PAIRS).getvalue()[:700]]),
    tail=st.binary(max_size=3000),
)
def test_any_bytes_are_samples_and_rejections(head: bytes, tail: bytes) -> None:
    for format, data in (
        (Format.TAR, head + tail),
        (Format.TAR_GZIP, gzip.compress(head + tail)),
        (Format.TAR_GZIP, head + tail),
    ):
        samples, rejections = read(io.BytesIO(data), format=format)
        assert samples or rejections


@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_a_damaged_tar_is_samples_and_rejections(edits: list[tuple[float, int]]) -> None:
    data = bytearray(tar_of(PAIRS).getvalue()[:8192])
    for place, value in edits:
        data[int(place * len(data))] = value
    for format, damaged in ((Format.TAR, bytes(data)), (Format.TAR_GZIP, gzip.compress(bytes(data)))):
        items = list(read_samples(io.BytesIO(damaged), format=format))
        assert all(isinstance(item, RawSample | Rejection) for item in items)
        assert items


def test_reading_stops_where_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveEndsError):
        list(tar_members(io.BytesIO(b"no tar" * 500), Limits(), compressed=False))
