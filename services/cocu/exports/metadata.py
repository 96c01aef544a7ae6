"""The metadata uploaded with samples: the .json members of a shard's tar."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import Any

from cocu.errors import IntegrityError
from cocu.platform import Platform
from cocu.storage import paths, shard_hashes


def read_metadata(
    platform: Platform, dataset: str, shard: str, *, samples: int, sha256: str
) -> Iterator[dict[str, Any]]:
    """The metadata of a shard's samples in their order, {} where a sample has none; one at a time in memory.

    sha256: the expected hash of the shard.

    Raises NotFoundError, IntegrityError.
    """
    path = shard_hashes.require(platform.objects, paths.shard(dataset, shard), sha256)
    seen = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for metadata in _by_sample(tar):
                seen += 1
                yield metadata
    except (tarfile.TarError, ValueError) as error:
        raise IntegrityError(f"shard {shard} is not a readable tar ({error})") from error
    if seen != samples:
        raise IntegrityError(f"shard {shard} holds {seen} samples, not {samples}")


def _by_sample(tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """The .json of every sample. The members of a sample are adjacent: image if any, .txt, .json if any."""
    current: dict[str, Any] = {}
    key: str | None = None
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every member; none is needed again
        name, _, extension = member.name.rpartition(".")
        if key not in (None, name):
            yield current
            current = {}
        key = name
        if extension == "json":
            file = tar.extractfile(member)
            assert file is not None
            current = json.loads(file.read())
    if key is not None:
        yield current
