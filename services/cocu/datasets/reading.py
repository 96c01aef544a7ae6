"""Any accepted file or folder → samples and rejections, streaming; nothing is ever extracted to disk.

A file is read twice: first its captions and metadata, which are small and kept, then its images one by
one. So the members of a sample may lie anywhere in an archive (a tar made of a folder is in no order at
all), in plain and in compressed ones, while memory holds the texts of one archive and a few images.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from cocu.datasets.folders import folder_members
from cocu.datasets.images import BadImage, inspect_image
from cocu.datasets.joining import Pair, join
from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.members import Members
from cocu.datasets.rejections import Rejection
from cocu.datasets.tars import BLOCK, is_tar, tar_members
from cocu.datasets.zips import zip_members
from cocu.errors import InvalidInputError

HEAD_BYTES = 4096
"""How much of a file `detect_format` wants to see."""


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
    metadata: dict[str, Any] = field(default_factory=dict)


def detect_format(head: bytes, name: str = "") -> Format:
    """State the format of a file by its first bytes (`HEAD_BYTES` of them); the name is for the message only.

    Raises InvalidInputError, naming the accepted formats, for anything else.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Format.ZIP
    if is_tar(head):
        return Format.TAR
    if head.startswith(b"\x1f\x8b"):
        try:
            unpacked = zlib.decompressobj(wbits=31).decompress(head, BLOCK)
        except zlib.error:
            unpacked = b"\xff" * BLOCK
        if is_tar(unpacked) or len(unpacked) < BLOCK:
            return Format.TAR_GZIP
    what = f"{name!r} begins" if name else "the file begins"
    raise InvalidInputError(
        f"{what} with {head[:16]!r} and is none of the accepted formats: "
        "a tar (plain or gzipped) or a zip of images (.jpg, .png, .webp) and captions (.txt) of the "
        "same names"
    )


def read_samples(
    source: Path | BinaryIO,
    *,
    format: Format | None = None,
    limits: Limits = DEFAULT_LIMITS,
    threads: int = 1,
) -> Iterator[RawSample | Rejection]:
    """Yield samples and rejections of a file (path or seekable binary file) or a folder.

    Samples come in the order of their images, whatever `threads` (which check images in parallel). Of several
    samples with one key the first counts. A caption is the sample's .txt, or without a good one the
    `caption` or `text` of its .json. An archive that is cut off, damaged or beyond a limit gives the
    samples before that point and one rejection without a key for the rest.

    Raises InvalidInputError when the format is none of the accepted; bad contents are rejections.
    """
    with ExitStack() as stack:
        if isinstance(source, Path) and source.is_dir():
            format = Format.FOLDER
        elif isinstance(source, Path):
            source = stack.enter_context(source.open("rb"))
        if format is None and not isinstance(source, Path):
            source.seek(0)
            format = detect_format(source.read(HEAD_BYTES), str(getattr(source, "name", "")))
        pairs = join(
            _opener(source, format, limits),
            first_dot=format in (Format.TAR, Format.TAR_GZIP),
            limits=limits,
        )
        yield from _in_order(pairs, lambda item: _checked(item, limits), threads)


def _opener(source: Path | BinaryIO, format: Format | None, limits: Limits) -> Callable[[], Members]:
    if isinstance(source, Path):
        return lambda: folder_members(source, limits)
    if format is Format.ZIP:
        return lambda: zip_members(source, limits)
    return lambda: tar_members(source, limits, compressed=format is Format.TAR_GZIP)


_Item = RawSample | Rejection


def _in_order(
    items: Iterable[Pair | Rejection], check: Callable[[Pair | Rejection], _Item], threads: int
) -> Iterator[_Item]:
    """Map in parallel, in order, with at most a few items per thread in memory."""
    if threads <= 1:
        yield from map(check, items)
        return
    waiting: deque[Future[_Item]] = deque()
    with ThreadPoolExecutor(threads, "check-images") as pool:
        for item in items:
            waiting.append(pool.submit(check, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _checked(item: Pair | Rejection, limits: Limits) -> RawSample | Rejection:
    if isinstance(item, Rejection):
        return item
    facts = inspect_image(item.image, limits=limits)
    if isinstance(facts, BadImage):
        return Rejection(item.key, item.member, facts.reason, facts.detail)
    return RawSample(
        key=item.key,
        image=item.image,
        caption=item.caption,
        extension=facts.extension,
        width=facts.width,
        height=facts.height,
        sha256=hashlib.sha256(item.image).digest(),
        metadata=item.metadata,
    )
