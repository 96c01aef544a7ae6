"""Shards: a clean tar of at most 10,000 samples and where in it each image lies."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cocu.formats.limits import DEFAULT_LIMITS, Limits
from cocu.formats.reading import RawSample
from cocu.formats.tars import BLOCK

_END = bytes(2 * BLOCK)
_PIECE = 1 << 20


@dataclass(frozen=True)
class SampleRow:
    """One row of the sample table.

    offset, size: where the image's bytes lie inside the shard's tar, for reading them alone.
    width, height: in pixels, as seen. sha256: 32 bytes, of the image's bytes.
    embedding: of a sample that came without its image, as float16 [D]; then the numbers are 0, and sha256 is
    that of the embedding.
    """

    key: str
    caption: str
    offset: int
    size: int
    width: int
    height: int
    sha256: bytes
    embedding: NDArray[np.float16] | None = field(default=None, compare=False)


def write_shard(
    samples: Iterable[RawSample], target: BinaryIO, *, limits: Limits = DEFAULT_LIMITS
) -> list[SampleRow]:
    """Write samples to `target` as a WebDataset tar, until none are left or it is full; return its rows.

    The bytes are a function of the samples alone (no times, no users); images are written as they came, and
    samples known by their embeddings without one.
    Takes no more than it writes from an iterator, so that calling it again with the same iterator writes
    the next shard; no rows say that nothing was left.
    """
    rows = []
    position = 0
    for sample in islice(samples, limits.max_samples_per_shard):
        image_offset = 0
        for extension, data in _members(sample):
            header = _header(f"{sample.key}.{extension}", len(data))
            target.write(header)
            target.write(data)
            target.write(bytes(-len(data) % BLOCK))
            if extension == sample.extension:
                image_offset = position + len(header)
            position += len(header) + len(data) + (-len(data) % BLOCK)
        rows.append(_row(sample, image_offset))
    target.write(_END)
    return rows


def pack_files(files: Mapping[str, BinaryIO]) -> Iterator[bytes]:
    """Yield, in pieces, a tar of open files, each from its beginning, under these names."""
    for name, file in files.items():
        size = file.seek(0, 2)
        file.seek(0)
        yield _header(name, size)
        while piece := file.read(_PIECE):
            yield piece
        yield bytes(-size % BLOCK)
    yield _END


def _members(sample: RawSample) -> Iterator[tuple[str, bytes]]:
    if sample.embedding is None:
        yield sample.extension, sample.image
    yield "txt", sample.caption.encode()
    if sample.metadata:
        yield "json", json.dumps(sample.metadata, sort_keys=True).encode()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _row(sample: RawSample, offset: int) -> SampleRow:
    return SampleRow(
        key=sample.key,
        caption=sample.caption,
        offset=offset,
        size=len(sample.image),
        width=sample.width,
        height=sample.height,
        sha256=sample.sha256,
        embedding=sample.embedding,
    )
