"""Shards: a clean tar of at most 10,000 samples and where in it each image lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.reading import RawSample


@dataclass(frozen=True)
class SampleRow:
    """One row of the sample table: `offset` and `size` locate the image's bytes inside the shard's tar."""

    key: str
    caption: str
    offset: int
    size: int
    width: int
    height: int
    sha256: bytes


def write_shard(
    samples: Iterable[RawSample], target: BinaryIO, *, limits: Limits = DEFAULT_LIMITS
) -> list[SampleRow]:
    """Write samples to `target` as a tar until there are no more or the shard is full; return its rows.

    The bytes are a function of the samples alone. Takes no more than it writes from an iterator, so that calling it
    again with the same iterator writes the next shard; an empty list says that nothing was left.
    """
    raise NotImplementedError


def pack_folder(folder: Path) -> Iterator[bytes]:
    """Yield a tar of a folder's images, captions and metadata, in chunks: what a client uploads."""
    raise NotImplementedError
