"""The images of a batch, as stored or resized, one after the other in one buffer."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
from PIL import Image

from cocu.curation.archives import Ids
from cocu.curation.ragged import offsets_of
from cocu.formats.images import media_type, opened
from cocu.formats.limits import Limits
from cocu.formats.pixel_budget import PixelBudget

THREADS = 4
QUALITY = 90

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class Images:
    """A buffer for B images of these sizes, to be filled one by one; a size of 0 means no image.

    The memory comes from Arrow's pool, which reuses freed memory: new memory for every batch would take
    longer than reading the images.
    """

    def __init__(self, sizes_B: Ids) -> None:
        self._offsets_B1 = offsets_of(sizes_B)
        self._buffer = pa.allocate_buffer(int(self._offsets_B1[-1]))
        self._bytes = memoryview(self._buffer).cast("B")

    def __len__(self) -> int:
        return len(self._offsets_B1) - 1

    def target(self, position: int) -> memoryview:
        """Return the memory of one image."""
        return self._bytes[int(self._offsets_B1[position]) : int(self._offsets_B1[position + 1])]

    def column(self) -> pa.Array:
        """Return all images as large_binary, without a copy; null where there is none."""
        present_B = np.diff(self._offsets_B1) > 0
        validity = None if present_B.all() else pa.py_buffer(np.packbits(present_B, bitorder="little"))
        buffers = [validity, pa.py_buffer(self._offsets_B1), self._buffer]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    def extensions(self) -> list[str | None]:
        """Return jpg, png or webp for each image, by content; None where there is no image."""
        heads = (bytes(self.target(position)[:16]) for position in range(len(self)))
        return [_EXTENSIONS.get(media_type(head), "") if head else None for head in heads]


def views(column: pa.Array) -> list[memoryview | None]:
    """Return the images of a column of `Images`, None where there is none; Arrow's scalars would be
    copies."""
    _, offsets, data = column.buffers()
    if not len(column) or data is None:
        return [None] * len(column)
    offsets_B1 = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8).tolist()
    whole = memoryview(data).cast("B")
    return [whole[start:end] if start < end else None for start, end in pairwise(offsets_B1)]


def resize(images: Images, *, side: int, limits: Limits, pixels: PixelBudget) -> Images:
    """Encode images whose shorter side exceeds `side` pixels as JPEG of that size; keep the others."""
    stored = (images.target(position) for position in range(len(images)))
    smaller = list(_threads().map(lambda image: _resize(image, side, limits, pixels), stored))
    result = Images(np.array([len(image) for image in smaller], dtype=np.int64))
    for position, image in enumerate(smaller):
        result.target(position)[:] = image
    return result


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="batch-images")


def _resize(image: memoryview, side: int, limits: Limits, pixels: PixelBudget) -> bytes | memoryview:
    if not len(image):
        return image
    with opened(bytes(image), limits=limits, pixels=pixels) as decoded:
        shorter = min(decoded.size)
        if shorter <= side:
            return image
        width, height = (max(side, round(length * side / shorter)) for length in decoded.size)
        smaller = decoded.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    target = io.BytesIO()
    smaller.save(target, "JPEG", quality=QUALITY)
    return target.getvalue()
