"""Tars as people damage and forge them."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.formats.archive import ArchiveEndsError, Member
from cocu.formats.limits import Limits
from cocu.formats.options import ReadOptions
from cocu.formats.reading import RawSample, read_samples
from cocu.formats.rejections import Reason, Rejection
from cocu.formats.tars import tar_members

from .archives import keys, picture, read, reasons, tar_of

PAIRS = [("a.jpg", picture(1)), ("a.txt", b"a dog"), ("b.jpg", picture(2)), ("b.txt", b"a cat")]


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
        samples, rejections = read(io.BytesIO(cut), format="tar" if mode == "w" else "tar.gz")
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
    _, rejections = read(io.BytesIO(bytes(block) + b"data" * 500), format="tar")
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
    members = tar_members(archive, Limits(max_name_bytes=1000))
    expected = {name: content for name, content in contents.items() if name not in ("..", ".")}
    assert {m.name: m.read() for m in members if isinstance(m, Member) and m.name} == expected


@given(
    head=st.sampled_from([b"", tar_of(PAIRS).getvalue()[:2048], tar_of(PAIRS).getvalue()[:700]]),
    tail=st.binary(max_size=3000),
)
def test_any_bytes_are_samples_and_rejections(head: bytes, tail: bytes) -> None:
    for format, data in (
        ("tar", head + tail),
        ("tar.gz", gzip.compress(head + tail)),
        ("tar.gz", head + tail),
    ):
        samples, rejections = read(io.BytesIO(data), format=format)
        assert samples or rejections


@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_a_damaged_tar_is_samples_and_rejections(edits: list[tuple[float, int]]) -> None:
    data = bytearray(tar_of(PAIRS).getvalue()[:8192])
    for position, value in edits:
        data[int(position * len(data))] = value
    for format, damaged in (("tar", bytes(data)), ("tar.gz", gzip.compress(bytes(data)))):
        items = list(read_samples(io.BytesIO(damaged), options=ReadOptions(format=format)))
        assert all(isinstance(item, RawSample | Rejection) for item in items)
        assert items


def test_reading_stops_where_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveEndsError):
        list(tar_members(io.BytesIO(b"no tar" * 500), Limits()))
