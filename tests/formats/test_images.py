"""Pictures that anyone may send: each is decoded or has a reason code."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cocu.errors import InvalidInputError
from cocu.formats.images import (
    BadImage,
    ImageFacts,
    decode_image,
    inspect_image,
    load_image,
    media_type,
    opened,
    thumbnail,
)
from cocu.formats.limits import Limits
from cocu.formats.pillow_warnings import ignore_pillow_warnings
from cocu.formats.pixel_budget import PixelBudget
from cocu.formats.rejections import Reason


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG with a header that may lie."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def reason(data: bytes, limits: Limits | None = None) -> Reason:
    limits = limits or Limits()
    inspected, decoded = inspect_image(data, limits=limits), decode_image(data, limits=limits)
    assert isinstance(inspected, BadImage)
    assert inspected == decoded
    assert inspected.detail
    return inspected.reason


@pytest.mark.parametrize(
    ("format", "extension", "media"),
    [("JPEG", "jpg", "image/jpeg"), ("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")],
)
def test_the_three_formats_are_decoded(format: str, extension: str, media: str) -> None:
    data = encoded(gradient(), format)
    assert inspect_image(data) == ImageFacts(extension, 40, 30)
    assert media_type(data) == media
    decoded = load_image(data)
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(gradient(), dtype=int)).mean() < 4


def test_a_large_jpeg_is_decoded_smaller_only_where_it_is_asked_for() -> None:
    data = encoded(Image.effect_noise((2400, 1800), 90), "JPEG")
    with Image.open(io.BytesIO(data)) as whole:
        assert load_image(data).tobytes() == whole.convert("RGB").tobytes()
    pixels = PixelBudget(10_000_000)
    with opened(data, pixels=pixels) as image:
        assert image.size == (2400, 1800)
    with opened(data, pixels=pixels, shorter_side=224) as image:
        assert image.size == (300, 225)


def test_empty_and_foreign_bytes() -> None:
    assert reason(b"") is Reason.EMPTY_IMAGE
    assert reason(b"<!DOCTYPE html><title>404</title>") is Reason.NOT_AN_IMAGE
    assert reason(b"\0" * 100) is Reason.NOT_AN_IMAGE
    assert reason(encoded(gradient(), "GIF")) is Reason.UNSUPPORTED_IMAGE_FORMAT
    assert reason(encoded(gradient(), "BMP")) is Reason.UNSUPPORTED_IMAGE_FORMAT
    assert reason(encoded(gradient(), "TIFF")) is Reason.UNSUPPORTED_IMAGE_FORMAT
    assert reason(encoded(gradient(), "PPM")) is Reason.NOT_AN_IMAGE
    assert reason(b"SIMPLE  =                    T") is Reason.UNSUPPORTED_IMAGE_FORMAT
    assert reason(b"\xff\xd8\xff<html>") is Reason.CORRUPT_IMAGE
    assert media_type(b"<html>") == "application/octet-stream"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_truncated_images(format: str) -> None:
    data = encoded(gradient(200, 150), format)
    reasons = {reason(data[: len(data) * part // 10]) for part in range(1, 10)}
    assert reasons <= {Reason.TRUNCATED_IMAGE, Reason.CORRUPT_IMAGE}
    if format != "WEBP":
        assert reason(data[: len(data) // 2]) is Reason.TRUNCATED_IMAGE


def test_a_damaged_checksum_in_a_png() -> None:
    data = bytearray(encoded(gradient()))
    data[-20] ^= 0xFF
    assert reason(bytes(data)) in {Reason.CORRUPT_IMAGE, Reason.TRUNCATED_IMAGE}


def test_cmyk_keeps_its_colours() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 40)).convert("CMYK")
    decoded = load_image(encoded(red, "JPEG", quality=95))
    assert np.abs(np.asarray(decoded, dtype=int)[8, 8] - (220, 30, 40)).max() < 12


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    decoded = np.asarray(load_image(encoded(Image.fromarray(levels))))
    assert np.abs(decoded[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


def test_sixteen_bit_colour() -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 4 for _ in range(3))
    decoded = load_image(png(4, 3, depth=16, data=rows))
    assert np.asarray(decoded)[1, 1].tolist() == [255, 128, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_modes_without_alpha(mode: str) -> None:
    decoded = load_image(encoded(gradient().convert(mode)))
    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))


def test_transparency_is_laid_over_white() -> None:
    with_alpha = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    with_alpha.putpixel((1, 1), (10, 20, 30, 255))
    grey = Image.new("LA", (4, 4), (7, 0))
    grey.putpixel((1, 1), (7, 255))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 10, 20, 30] + [0] * 762)
    palette.putpixel((1, 1), 1)
    for image, options, solid in (
        (with_alpha, {}, (10, 20, 30)),
        (grey, {}, (7, 7, 7)),
        (palette, {"transparency": 0}, (10, 20, 30)),
        (palette, {"transparency": bytes([0, 255])}, (10, 20, 30)),
    ):
        decoded = load_image(encoded(image, "PNG", **options))
        assert decoded.getpixel((0, 0)) == (255, 255, 255)
        assert decoded.getpixel((1, 1)) == solid


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(
        frames[0], format, save_all=True, append_images=frames[1:], duration=10, loop=0, lossless=True
    )
    assert inspect_image(data) == ImageFacts(format.lower(), 20, 20, animated=True)
    assert load_image(data).getpixel((10, 10)) == (255, 0, 0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    # The upper left quarter of the upright picture is red, its upper right quarter green.
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("red", (0, 0, 32, 16))
    upright.paste("lime", (32, 0, 64, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif.tobytes())
    facts = inspect_image(data)
    assert isinstance(facts, ImageFacts)
    assert (facts.width, facts.height) == (64, 32)
    decoded = load_image(data)
    assert decoded.size == (64, 32)
    corner, other = np.asarray(decoded)[4, 6].astype(int), np.asarray(decoded)[4, 58].astype(int)
    assert corner[0] - corner[1] > 150, "red is not in the upper left"
    assert other[1] - other[0] > 150, "green is not in the upper right"


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_a_broken_exif_block_does_not_cost_the_picture(exif: bytes) -> None:
    data = encoded(gradient(), "JPEG", exif=exif)
    assert inspect_image(data) == ImageFacts("jpg", 40, 30)
    assert load_image(data).size == (40, 30)


def test_a_broken_colour_profile_is_ignored() -> None:
    assert load_image(encoded(gradient(), "JPEG", icc_profile=b"not a profile")).size == (40, 30)


def test_several_pictures_in_one_jpeg_are_its_first() -> None:
    data = encoded(gradient(), "MPO", save_all=True, append_images=[gradient(20, 20)])
    assert inspect_image(data) == ImageFacts("jpg", 40, 30)
    assert load_image(data).size == (40, 30)
    assert inspect_image(data[:-400]) == ImageFacts("jpg", 40, 30)


def test_one_pixel_is_a_picture() -> None:
    assert inspect_image(encoded(Image.new("RGB", (1, 1)))) == ImageFacts("png", 1, 1)


def test_very_narrow_pictures_are_refused() -> None:
    assert reason(encoded(Image.new("RGB", (1, 60_000)))) is Reason.EXTREME_ASPECT_RATIO
    assert inspect_image(encoded(Image.new("L", (1, 100)))) == ImageFacts("png", 1, 100)


@pytest.mark.parametrize(("width", "height"), [(65_500, 65_500), (12_000, 12_000), (8_000, 7_000)])
def test_bombs_are_refused_by_their_header(width: int, height: int) -> None:
    # One bit per pixel: 65,500 × 65,500 is 4.3 gigapixels in half a megabyte.
    data = png(width, height, depth=1, colour=0, data=bytes((width // 8 + 1) * 1_000))
    tracemalloc.start()
    assert reason(data) is Reason.TOO_MANY_PIXELS
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_webp_may_not_lie_about_its_size_either() -> None:
    canvas = bytes([0, 0, 0, 0]) + struct.pack("<I", 16_382)[:3] + struct.pack("<I", 16_382)[:3]
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas
    assert reason(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks) in {
        Reason.TOO_MANY_PIXELS,
        Reason.CORRUPT_IMAGE,
    }


def test_the_limits_are_limits() -> None:
    data = encoded(gradient())
    assert reason(data, Limits(max_pixels=1_199)) is Reason.TOO_MANY_PIXELS
    assert reason(data, Limits(max_image_bytes=len(data) - 1)) is Reason.IMAGE_TOO_LARGE
    assert isinstance(
        inspect_image(data, limits=Limits(max_pixels=1_200, max_image_bytes=len(data))), ImageFacts
    )


def test_a_picture_that_is_also_a_zip_is_read_as_a_picture() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("evil.html", "<script>")
    polyglot = encoded(gradient(), "JPEG") + archive.getvalue()
    assert zipfile.is_zipfile(io.BytesIO(polyglot))
    assert inspect_image(polyglot) == ImageFacts("jpg", 40, 30)
    assert media_type(polyglot) == "image/jpeg"


def test_a_thumbnail_is_a_small_jpeg() -> None:
    pixels = PixelBudget(10**6)
    data = thumbnail(encoded(gradient(800, 400)), side=100, pixels=pixels)
    assert inspect_image(data) == ImageFacts("jpg", 100, 50)
    tiny = thumbnail(encoded(gradient(8, 4)), side=100, pixels=pixels)
    assert inspect_image(tiny) == ImageFacts("jpg", 8, 4)
    with pytest.raises(InvalidInputError, match="not_an_image"):
        thumbnail(b"<html>", pixels=pixels)


def test_warnings_are_silenced_for_all_threads_and_back_afterwards() -> None:
    before = warnings.filters[:]
    inside, leave = threading.Barrier(3), threading.Event()

    def decode_slowly() -> None:
        with ignore_pillow_warnings:
            inside.wait()
            leave.wait()

    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(decode_slowly) for _ in range(2)]
        try:
            inside.wait()
            with ignore_pillow_warnings:
                warnings.warn_explicit("bomb", UserWarning, "x.py", 1, module="PIL.Image")
                with pytest.raises(UserWarning, match="ours"):
                    warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="cocu.other")
            # The first to leave is not the last.
            warnings.warn_explicit("bomb", UserWarning, "x.py", 1, module="PIL.Image")
        finally:
            leave.set()
        for thread in threads:
            thread.result()
    assert warnings.filters == before


@given(
    head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x24\0\0\0WEBPVP8 "]),
    tail=st.binary(),
)
def test_any_bytes_are_a_picture_or_have_a_reason(head: bytes, tail: bytes) -> None:
    assert isinstance(inspect_image(head + tail), BadImage)


@given(
    format=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_picture_is_decoded_or_has_a_reason(format: str, edits: list[tuple[float, int]]) -> None:
    data = bytearray(encoded(gradient(), format))
    for position, value in edits:
        data[int(position * len(data))] = value
    inspected, decoded = inspect_image(bytes(data)), decode_image(bytes(data))
    if isinstance(inspected, ImageFacts):
        assert isinstance(decoded, Image.Image)
        assert decoded.mode == "RGB"
        assert decoded.size == (inspected.width, inspected.height)
    else:
        assert inspected == decoded
