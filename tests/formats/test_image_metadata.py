"""What is written about a picture beside it: of any size, or damaged, it does not cost the picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cocu.formats.image_metadata import picture_alone, without_metadata
from cocu.formats.images import (
    ImageFacts,
    inspect_image,
    load_image,
    readable_image,
)
from cocu.formats.limits import Limits
from cocu.formats.rejections import Reason

from .archives import read, reasons, tar_of, zip_of
from .test_images import encoded, gradient


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


PACKED = zlib.compress(bytes(3_000_000))
AROUND_PNG = {
    "a text that unpacks to megabytes": chunk(b"zTXt", b"a\0\0" + PACKED),
    "a text of another alphabet": chunk(b"iTXt", b"a\0\1\0\0\0" + PACKED),
    "many texts": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000))) * 80,
    "a large profile": chunk(b"iCCP", b"a\0\0" + PACKED),
    "a damaged profile": chunk(b"iCCP", b"junk"),
    "a wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"x",
    "a resolution that is cut off": chunk(b"pHYs", b"1"),
    "frames that are none": chunk(b"acTL", b"1"),
}
AROUND_JPEG = {
    "many segments": segment(0xE1, b"Exif\0\0" + b"x" * 60_000) * 50,
    "a long XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"y" * 60_000) * 50,
    "a short JFIF": segment(0xE0, b"JFIF"),
    "a short Adobe": segment(0xEE, b"Adobe"),
    "broken MPF": segment(0xE2, b"MPF\0II*\0junk"),
}


@pytest.mark.parametrize("around", AROUND_PNG)
def test_nothing_that_is_written_about_a_png_costs_it(around: str) -> None:
    data = encoded(gradient())
    for position in (33, -12):  # after the header and before the end
        strange = data[:position] + AROUND_PNG[around] + data[position:]
        assert inspect_image(strange) == ImageFacts("png", 40, 30)
        assert load_image(strange).tobytes() == load_image(data).tobytes()


@pytest.mark.parametrize("around", AROUND_JPEG)
def test_nothing_that_is_written_about_a_jpeg_costs_it(around: str) -> None:
    data = encoded(gradient(), "JPEG")
    strange = data[:2] + AROUND_JPEG[around] + data[2:]
    assert inspect_image(strange) == ImageFacts("jpg", 40, 30)
    assert load_image(strange).tobytes() == load_image(data).tobytes()


@pytest.mark.parametrize("cut", [1, 50, 300])
def test_a_webp_that_ends_in_its_metadata_is_whole(cut: int) -> None:
    data = encoded(gradient(), "WEBP")
    strange = encoded(gradient(), "WEBP", xmp=b"<x/>" * 200)[:-cut]
    assert inspect_image(strange) == ImageFacts("webp", 40, 30)
    assert load_image(strange).tobytes() == load_image(data).tobytes()


def test_a_picture_keeps_its_turn_and_is_stored_so_that_others_can_read_it_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(gradient(), "JPEG", exif=exif.tobytes())
    strange = data[:2] + AROUND_JPEG["a short Adobe"] + data[2:]
    readable = readable_image(strange)
    assert isinstance(readable, tuple)
    assert readable[1] == ImageFacts("jpg", 30, 40)
    assert Image.open(io.BytesIO(readable[0])).size == (40, 30)
    assert readable_image(data) == (data, ImageFacts("jpg", 30, 40))


def _with_text(kind: str, size: int) -> bytes:
    """A picture with so many bytes of text in it, before what makes the picture and after it."""
    target = io.BytesIO()
    Image.new("RGB", (9, 7), (99, 0, 0)).save(target, kind)
    data = target.getvalue()
    if kind == "JPEG":
        segment = b"\xff\xfe" + struct.pack(">H", 50_002) + b"x" * 50_000
        return data[:2] + segment * (size // 50_000) + data[2:]
    if kind == "PNG":
        text = struct.pack(">I4s", size, b"tEXt") + b"k\0" + b"x" * (size - 2) + b"abcd"
        return data[:33] + text + data[33:-12] + text + data[-12:]
    chunks = data[12:] + struct.pack("<4sI", b"XMP ", size) + b"x" * size
    return b"RIFF" + struct.pack("<I4s", 4 + len(chunks), b"WEBP") + chunks


@pytest.mark.parametrize("pack", ["tar", "zip", "folder", "parquet"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_text_that_makes_a_file_too_large_does_not_cost_the_picture(
    kind: str, pack: str, tmp_path: Path
) -> None:
    data = _with_text(kind, 300_000)
    members = [("a.jpg", data), ("a.txt", b"a dog"), ("b.jpg", b"\xff\xd8" + bytes(300_000)), ("b.txt", b"x")]
    source: io.BytesIO | Path = tmp_path
    if pack == "parquet":
        source = io.BytesIO()
        rows = [
            {"key": key, "image": raw, "caption": "x"} for key, raw in (("a", data), ("b", members[2][1]))
        ]
        pq.write_table(pa.Table.from_pylist(rows), source)
    elif pack == "folder":
        for name, content in members:
            (tmp_path / name).write_bytes(content)
    else:
        source = tar_of(members) if pack == "tar" else zip_of(members)
    samples, rejections = read(source, Limits(max_image_bytes=200_000))
    assert [(sample.key, sample.width, sample.height, len(sample.image) < 10_000) for sample in samples] == [
        ("a", 9, 7, True)
    ]
    assert reasons(rejections) == [("b", Reason.IMAGE_TOO_LARGE)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_the_same_in_pieces_of_any_size_and_cut_off_anywhere(kind: str) -> None:
    data = _with_text(kind, 50_000)
    alone = without_metadata(data)
    assert alone is not None
    for size in (1, 7, 4096):
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert picture_alone(pieces, most_bytes=len(alone) + 100) == alone
    assert picture_alone([data], most_bytes=len(alone) - 40) is None
    for end in range(0, len(alone), 3):
        without_metadata(alone[:end])
