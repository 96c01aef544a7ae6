"""Tars in a zstandard stream."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pytest
from webdataset import TarWriter

from cocu.formats.limits import Limits
from cocu.formats.options import ReadOptions
from cocu.formats.reading import open_reading
from cocu.formats.rejections import Reason

from .archives import keys, picture, read, reasons, tar_of


def compressed(data: bytes) -> io.BytesIO:
    return io.BytesIO(pa.compress(data, "zstd", asbytes=True))


def many(count: int = 60) -> bytes:
    return tar_of(
        member for n in range(count) for member in ((f"{n:03}.jpg", picture(n)), (f"{n:03}.txt", b"a dog"))
    ).getvalue()


def test_a_webdataset_is_read_and_its_file_left_open() -> None:
    plain = io.BytesIO()
    with TarWriter(plain, encoder=True) as writer:
        for number in range(3):
            writer.write({"__key__": f"{number}", "webp": picture(number, "WEBP"), "json": {"caption": "x"}})
    file = compressed(plain.getvalue())
    with open_reading(file) as reading:
        assert reading.format == "tar.zst"
        first = list(reading.samples())
    assert keys(file) == ["0", "1", "2"]
    assert first == read(io.BytesIO(plain.getvalue()))[0]


def test_several_frames_are_one_stream() -> None:
    data = many()
    halves = pa.compress(data[:10_240], "zstd", asbytes=True) + pa.compress(
        data[10_240:], "zstd", asbytes=True
    )
    assert len(keys(io.BytesIO(halves))) == 60


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_stream_that_is_cut_off_gives_what_came_before(kept: float) -> None:
    whole = compressed(many()).getvalue()
    samples, rejections = read(
        io.BytesIO(whole[: int(len(whole) * kept)]), options=ReadOptions(format="tar.zst")
    )
    assert [sample.key for sample in samples] == [f"{n:03}" for n in range(len(samples))]
    assert reasons(rejections)[-1][1] in (Reason.TRUNCATED_ARCHIVE, Reason.NO_SAMPLES)
    assert any(rejection.reason is Reason.TRUNCATED_ARCHIVE for rejection in rejections)


def test_a_damaged_stream_ends_with_a_reason() -> None:
    whole = bytearray(compressed(many()).getvalue())
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    _, rejections = read(io.BytesIO(bytes(whole)), options=ReadOptions(format="tar.zst"))
    assert Reason.CORRUPT_ARCHIVE in {rejection.reason for rejection in rejections}


def test_a_bomb_ends_at_the_ratio() -> None:
    bomb = compressed(tar_of([("a.jpg", bytes(80 << 20)), ("a.txt", b"x")]).getvalue())
    assert bomb.getbuffer().nbytes < 20_000
    _, rejections = read(bomb, Limits(max_image_bytes=1 << 30))
    assert Reason.COMPRESSION_RATIO in {rejection.reason for rejection in rejections}


def test_frames_to_be_skipped_as_pzstd_writes_them() -> None:
    raw = tar_of([("a.jpg", picture(1)), ("a.txt", b"a dog")]).getvalue()
    data = b""
    for piece in (raw[:3000], raw[3000:]):
        frame = bytes(pa.compress(piece, codec="zstd", asbytes=True))
        data += struct.pack("<III", 0x184D2A50, 4, len(frame)) + frame
    samples, rejections = read(io.BytesIO(data))
    assert ([sample.caption for sample in samples], rejections) == (["a dog"], [])
