"""Bytes → picture, for bytes that anyone may have sent."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.rejections import Reason


@dataclass(frozen=True)
class BadImage:
    """Why bytes are not an acceptable picture."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class ImageFacts:
    """What an image is: extension by content (jpg, png, webp), width and height as seen (EXIF rotation applied)."""

    extension: str
    width: int
    height: int


def inspect_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> ImageFacts | BadImage:
    """Decode fully, to be sure, and state the facts."""
    raise NotImplementedError


def decode_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image | BadImage:
    """Decode to an 8-bit RGB picture, upright."""
    raise NotImplementedError


def load_image(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """As `decode_image`, but raise InvalidInputError for bytes that are not an acceptable picture."""
    raise NotImplementedError


def media_type(data: bytes) -> str:
    """The media type of image bytes by their first twelve bytes; application/octet-stream for anything else."""
    raise NotImplementedError


def thumbnail(data: bytes, *, side: int = 256) -> bytes:
    """A JPEG of at most `side` pixels on the longer side. Raises InvalidInputError like `load_image`."""
    raise NotImplementedError
