"""The images of a batch: as stored, or smaller; one after the other in one piece of memory."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
from PIL import Image

from cocu.curation.archives import Ids
from cocu.curation.lists import offsets_of
from cocu.datasets.images import load_image, media_type
from cocu.datasets.limits import Limits

THREADS = 4
QUALITY = 90

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class Images:
    """Room for B images of these sizes, to be filled one by one; a size of 0 is no image.

    The memory is Arrow's, which keeps what is freed: touching new memory for every batch would take longer
    than reading does.
    """

    def __init__(self, sizes_B: Ids) -> None:
        self._offsets_B1 = offsets_of(sizes_B)
        self._buffer = pa.allocate_buffer(int(self._offsets_B1[-1]))
        self._bytes = memoryview(self._buffer).cast("B")

    def __len__(self) -> int:
        return len(self._offsets_B1) - 1

    def target(self, place: int) -> memoryview:
        """The memory of one image."""
        return self._bytes[int(self._offsets_B1[place]) : int(self._offsets_B1[place + 1])]

    def column(self) -> pa.Array:
        """All of them as large_binary, not copied; null where there is none."""
        present_B = np.diff(self._offsets_B1) > 0
        validity = None if present_B.all() else pa.py_buffer(np.packbits(present_B, bitorder="little"))
        buffers = [validity, pa.py_buffer(self._offsets_B1), self._buffer]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    def extensions(self) -> list[str | None]:
        """jpg, png or webp for each, by content; None where there is no image."""
        heads = (bytes(self.target(place)[:16]) for place in range(len(self)))
        return [_EXTENSIONS.get(media_type(head), "") if head else None for head in heads]


def views(column: pa.Array) -> list[memoryview | None]:
    """The images of a column of `Images`, None where there is none: not copied, as Arrow's scalars are."""
    _, offsets, data = column.buffers()
    if not len(column) or data is None:
        return [None] * len(column)
    offsets_B1 = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8).tolist()
    whole = memoryview(data).cast("B")
    return [whole[start:end] if start < end else None for start, end in pairwise(offsets_B1)]


def resized(images: Images, *, side: int, limits: Limits) -> Images:
    """Those whose shorter side is longer than `side` pixels as JPEG of that size; the others as they are."""
    stored = (images.target(place) for place in range(len(images)))
    smaller = list(_threads().map(lambda image: _resized(image, side, limits), stored))
    made = Images(np.array([len(image) for image in smaller], dtype=np.int64))
    for place, image in enumerate(smaller):
        made.target(place)[:] = image
    return made


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="batch-images")


def _resized(image: memoryview, side: int, limits: Limits) -> bytes | memoryview:
    if not len(image):
        return image
    picture = load_image(bytes(image), limits=limits)
    shorter = min(picture.size)
    if shorter <= side:
        return image
    width, height = (max(side, round(length * side / shorter)) for length in picture.size)
    smaller = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    target = io.BytesIO()
    smaller.save(target, "JPEG", quality=QUALITY)
    return target.getvalue()
