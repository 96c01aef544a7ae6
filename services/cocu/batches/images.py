"""The images of a batch: as stored, or smaller; and as one column of memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pyarrow as pa
from PIL import Image

from cocu.datasets.images import load_image, media_type
from cocu.datasets.limits import Limits
from cocu.storage.objects import Buffer

THREADS = 4
QUALITY = 90

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


def extension(data: Buffer | bytes) -> str:
    """jpg, png or webp, by content."""
    return _EXTENSIONS.get(media_type(bytes(memoryview(data)[:16])), "")


def column(images: Sequence[Buffer | bytes]) -> pa.Array:
    """Images as one array of large_binary, copied once."""
    sizes = np.fromiter((len(image) for image in images), np.int64, len(images))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(images))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(images), buffers)


def resized(images: Sequence[Buffer | bytes], *, side: int, limits: Limits) -> list[Buffer | bytes]:
    """Images whose shorter side is longer than `side` pixels as JPEG of that size; others as they are."""
    return list(_threads().map(lambda image: _resized(image, side, limits), images))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="batch-images")


def _resized(image: Buffer | bytes, side: int, limits: Limits) -> Buffer | bytes:
    picture = load_image(bytes(image), limits=limits)
    shorter = min(picture.size)
    if shorter <= side:
        return image
    width, height = (max(side, round(length * side / shorter)) for length in picture.size)
    smaller = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    target = io.BytesIO()
    smaller.save(target, "JPEG", quality=QUALITY)
    return target.getvalue()
