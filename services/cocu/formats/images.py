"""Bytes → image, for bytes that anyone may have sent.

The header is read first and only by the decoders of the three accepted formats, so that neither a
decompression bomb nor the decoder of an exotic format is ever run.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from cocu import machine
from cocu.errors import InvalidInputError
from cocu.formats.image_metadata import without_metadata
from cocu.formats.limits import DEFAULT_LIMITS, Limits
from cocu.formats.pillow_warnings import ignore_pillow_warnings
from cocu.formats.pixel_budget import PixelBudget
from cocu.formats.rejections import Reason, printable

_FORMATS = ("JPEG", "PNG", "WEBP")
_PERHAPS_METADATA = (Reason.CORRUPT_IMAGE, Reason.TRUNCATED_IMAGE)
_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}

_DECODER_ERRORS = (
    OSError,  # most complaints of Pillow, UnidentifiedImageError among them
    SyntaxError,  # broken PNG chunks
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)

_OTHER_IMAGES = (
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"\0\0\1\0"),
    (0, b"8BPS"),
    (0, b"\0\0\0\x0cjP"),
    (0, b"\xff\x0a"),
    (0, b"\0\0\0\x0cJXL"),
    (4, b"ftypavif"),
    (4, b"ftyphei"),
    (4, b"ftypmif1"),
    (0, b"SIMPLE  ="),
)

_STRIP_PIXELS = 1 << 20
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


T = TypeVar("T")


@dataclass(frozen=True)
class BadImage:
    """Why bytes are not an acceptable image."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class ImageFacts:
    """What an image is.

    extension: jpg, png or webp, by content. width, height: in pixels, as seen (EXIF rotation applied).
    animated: it has several frames, of which the first is used.
    """

    extension: str
    width: int
    height: int
    animated: bool = False


def inspect_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> ImageFacts | BadImage:
    """State the facts of an image after decoding it fully, so that nothing is left to go wrong later.

    Raises nothing for any bytes.
    """
    readable = readable_image(data, limits=limits)
    return readable if isinstance(readable, BadImage) else readable[1]


def readable_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[bytes, ImageFacts] | BadImage:
    """Bytes that any decoder reads, and their facts: `data`, or where its metadata is in the way without it.

    Raises nothing for any bytes.
    """
    with ignore_pillow_warnings:
        try:
            image, readable = _open(data, limits)
        except _UnusableError as error:
            return error.bad
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        # The other images of a JPEG (MPO) are previews and depth maps, not frames.
        animated = image.format in ("PNG", "WEBP") and bool(getattr(image, "is_animated", False))
        return readable, ImageFacts(_EXTENSIONS[str(image.format)], width, height, animated)


def decode_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image | BadImage:
    """Decode to an 8-bit RGB image, upright.

    Of an animation the first frame; transparency over white; 16 bits scaled to 8; CMYK and palettes converted
    without colour management (ICC profiles are ignored). Raises nothing for any bytes.
    """
    with ignore_pillow_warnings:
        try:
            return _upright(_open(data, limits)[0])
        except _UnusableError as error:
            return error.bad
        except _DECODER_ERRORS as error:
            return BadImage(Reason.CORRUPT_IMAGE, _text_of(error))


def load_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """As `decode_image`, but raise InvalidInputError for bytes that are not an acceptable image."""
    image = decode_image(data, limits=limits)
    if isinstance(image, BadImage):
        raise unusable(image)
    return image


def unusable(bad: BadImage) -> InvalidInputError:
    """The error that says why an image cannot be used."""
    return InvalidInputError(f"the image cannot be used ({bad.reason}): {bad.detail}")


def media_type(data: bytes) -> str:
    """The media type of image bytes by their first twelve; application/octet-stream for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"


@contextmanager
def opened(
    data: bytes, *, pixels: PixelBudget, limits: Limits = DEFAULT_LIMITS, shorter_side: int | None = None
) -> Iterator[Image.Image]:
    """The image as `decode_image` has it, within a budget that is held while the block lasts.

    shorter_side: a JPEG may be decoded at half the size, a quarter or an eighth, as long as its shorter side
    keeps this many pixels. Raises InvalidInputError like `load_image`, UnavailableError like the budget.
    """
    with ignore_pillow_warnings, ExitStack() as stack:

        def read(readable: bytes) -> Image.Image:
            with ExitStack() as attempt:
                image = _header(readable, limits)
                attempt.enter_context(pixels.held(image.width * image.height))
                if shorter_side is not None:
                    scale = shorter_side / min(image.size)
                    image.draft(None, (round(image.width * scale), round(image.height * scale)))
                upright = _upright(_loaded(image))
                stack.push(attempt.pop_all())
            return upright

        try:
            _check_bytes(data, limits)
            upright = _without_obstacles(data, read)
        except _UnusableError as error:
            raise unusable(error.bad) from error
        except _DECODER_ERRORS as error:
            raise unusable(BadImage(Reason.CORRUPT_IMAGE, _text_of(error))) from error
        yield upright


def thumbnail(data: bytes, *, side: int = 256, pixels: PixelBudget, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A JPEG of at most `side` pixels on the longer side. Raises as `opened` does."""
    with opened(data, pixels=pixels, limits=limits, shorter_side=2 * side) as image:
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        target = BytesIO()
        image.save(target, "JPEG", quality=85)
    return target.getvalue()


def shrink_image(data: bytes, *, short_side: int) -> tuple[bytes, ImageFacts]:
    """Make the shorter side of an image this many pixels; a JPEG of quality 90, upright, without metadata.

    data: bytes that `inspect_image` accepted. Colours as `decode_image` has them: transparency over white,
    ICC profiles ignored. The bytes are a function of `data`, `short_side` and the version of Pillow.
    """
    with ignore_pillow_warnings:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        turn = _UPRIGHT.get(_orientation(image))
        scale = short_side / min(image.size)
        width, height = (max(short_side, round(side * scale)) for side in image.size)
        # JPEG is decoded at an eighth, a quarter or half the size where that is still large enough.
        image.draft(None, (2 * width, 2 * height))
        small = _to_rgb(image).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        upright = small if turn is None else small.transpose(turn)
    target = BytesIO()
    upright.save(target, "JPEG", quality=90)
    return target.getvalue(), ImageFacts("jpg", *upright.size)


class _UnusableError(Exception):
    """Carries a `BadImage` out of the steps below."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.bad = BadImage(reason, detail)


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, bytes]:
    """Check size and header, then decode the (first) frame in the file's own mode.

    Also the bytes it was made of: where metadata keeps it from being read, those without.
    """
    _check_bytes(data, limits)
    return _without_obstacles(data, lambda readable: (_loaded(_header(readable, limits)), readable))


def _without_obstacles(data: bytes, read: Callable[[bytes], T]) -> T:
    """What `read` makes of the bytes; where metadata may be in its way, of those without."""
    try:
        return read(data)
    except _UnusableError as error:
        bare = without_metadata(data) if error.bad.reason in _PERHAPS_METADATA else None
        if bare is None or bare == data:
            raise
        try:
            return read(bare)
        except _UnusableError:
            raise error from None


def _header(data: bytes, limits: Limits) -> Image.Image:
    """Check the header."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise _UnusableError(Reason.TOO_MANY_PIXELS, _text_of(error)) from error
    except UnidentifiedImageError as error:
        raise _UnusableError(Reason.CORRUPT_IMAGE, "the header cannot be read") from error
    except _DECODER_ERRORS as error:
        machine.raise_machine_error(error, "decode an image")
        raise _UnusableError(Reason.CORRUPT_IMAGE, _text_of(error)) from error
    _check_dimensions(*image.size, limits)
    return image


def _loaded(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except _DECODER_ERRORS as error:
        machine.raise_machine_error(error, "decode an image")
        raise _UnusableError(_reason_of(error), _text_of(error)) from error
    return image


def _check_bytes(data: bytes, limits: Limits) -> None:
    if not data:
        raise _UnusableError(Reason.EMPTY_IMAGE, "the file has no bytes")
    if len(data) > limits.max_image_bytes:
        raise _UnusableError(
            Reason.IMAGE_TOO_LARGE, f"{len(data)} bytes; the limit is {limits.max_image_bytes}"
        )
    if media_type(data) != "application/octet-stream":
        return
    if any(data.startswith(magic, start) for start, magic in _OTHER_IMAGES):
        raise _UnusableError(Reason.UNSUPPORTED_IMAGE_FORMAT, "only JPEG, PNG and WebP are accepted")
    raise _UnusableError(
        Reason.NOT_AN_IMAGE, f"begins with {data[:16]!r}, which is neither JPEG, PNG nor WebP"
    )


def _check_dimensions(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _UnusableError(
            Reason.TOO_MANY_PIXELS, f"{width} × {height} pixels; the limit is {limits.max_pixels} in all"
        )
    if max(width, height) > limits.max_aspect_ratio * max(1, min(width, height)):
        raise _UnusableError(
            Reason.EXTREME_ASPECT_RATIO,
            f"{width} × {height} pixels; one side may be {limits.max_aspect_ratio:g} times the other at most",
        )


def _reason_of(error: Exception) -> Reason:
    message = str(error).lower()
    truncated = isinstance(error, EOFError) or "truncated" in message or "unexpected end" in message
    return Reason.TRUNCATED_IMAGE if truncated else Reason.CORRUPT_IMAGE


def _text_of(error: Exception) -> str:
    return printable(str(error) or type(error).__name__, 200)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or the EXIF block is broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    """As RGB, and turned as its EXIF block says."""
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """As RGB, a strip at a time: at most one further copy of an image is in memory."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_strip_to_rgb(strip), (0, top))
    return rgb


def _strip_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        levels = np.clip(np.asarray(image, dtype=np.float32) / 257.0 + 0.5, 0, 255)
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image.convert("RGB")
