"""Tars in a zstandard stream."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from webdataset import TarWriter

from cocu.datasets.formats import Format
from cocu.datasets.limits import Limits
from cocu.datasets.options import ReadOptions
from cocu.datasets.reading import open_reading
from cocu.datasets.rejections import Reason

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
        assert reading.format is Format.TAR_ZSTANDARD
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
        io.BytesIO(whole[: int(len(whole) * kept)]), options=ReadOptions(format=Format.TAR_ZSTANDARD)
    )
    assert [each.key for each in samples] == [f"{n:03}" for n in range(len(samples))]
    assert reasons(rejections)[-1][1] in (Reason.TRUNCATED_ARCHIVE, Reason.NO_SAMPLES)
    assert any(each.reason is Reason.TRUNCATED_ARCHIVE for each in rejections)


def test_a_damaged_stream_ends_with_a_reason() -> None:
    whole = bytearray(compressed(many()).getvalue())
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    _, rejections = read(io.BytesIO(bytes(whole)), options=ReadOptions(format=Format.TAR_ZSTANDARD))
    assert Reason.CORRUPT_ARCHIVE in {each.reason for each in rejections}


def test_a_bomb_ends_at_the_ratio() -> None:
    bomb = compressed(tar_of([("a.jpg", bytes(80 << 20)), ("a.txt", b"x")]).getvalue())
    assert bomb.getbuffer().nbytes < 20_000
    _, rejections = read(bomb, Limits(max_image_bytes=1 << 30))
    assert Reason.COMPRESSION_RATIO in {each.reason for each in rejections}
