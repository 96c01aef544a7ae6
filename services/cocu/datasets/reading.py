"""Any accepted file or folder → samples and rejections, streaming; nothing is ever extracted to disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.rejections import Rejection


class Format(StrEnum):
    """The formats that `read_samples` accepts."""

    TAR = "tar"
    TAR_GZIP = "tar.gz"
    ZIP = "zip"
    FOLDER = "folder"


@dataclass(frozen=True)
class RawSample:
    """One image and its caption, checked: the image decodes within the limits, the caption is clean text.

    image: the bytes as uploaded, unchanged. extension: jpg, png or webp, by content.
    width, height: in pixels, as the picture is seen (EXIF rotation applied).
    sha256: 32 bytes, of `image`.
    metadata: the sample's .json, {} without one.
    """

    key: str
    image: bytes
    caption: str
    extension: str
    width: int
    height: int
    sha256: bytes
    metadata: dict[str, Any]


def detect_format(head: bytes, name: str = "") -> Format:
    """State the format of a file by its first bytes (512 are enough).

    Raises InvalidInputError, naming the accepted formats, for anything else.
    """
    raise NotImplementedError


def read_samples(
    source: Path | BinaryIO,
    *,
    format: Format | None = None,
    limits: Limits = DEFAULT_LIMITS,
    threads: int = 1,
) -> Iterator[RawSample | Rejection]:
    """Yield samples and rejections of a file (path or seekable binary file) or folder, in order of its images.

    Raises InvalidInputError when the format is none of the accepted; bad contents are rejections.
    """
    raise NotImplementedError
