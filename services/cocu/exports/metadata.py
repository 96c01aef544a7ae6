"""The metadata that came with samples: the .json members of a shard's tar."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import Any

from cocu.errors import IntegrityError
from cocu.platform import Platform
from cocu.storage import paths


def read_metadata(platform: Platform, dataset: str, shard: str, *, samples: int) -> Iterator[dict[str, Any]]:
    """The metadata of a shard's samples in their order, {} where there is none; one is in memory at a time.

    Raises NotFoundError, IntegrityError.
    """
    path = platform.objects.local_path(paths.shard(dataset, shard))
    seen = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for found in _by_sample(tar):
                seen += 1
                yield found
    except (tarfile.TarError, ValueError) as error:
        raise IntegrityError(f"shard {shard} is not a readable tar ({error})") from error
    if seen != samples:
        raise IntegrityError(f"shard {shard} holds {seen} samples, not {samples}")


def _by_sample(tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """Of every sample its .json: a shard has the image first if any, then the .txt, then the .json if any."""
    current: dict[str, Any] = {}
    key: str | None = None
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # they would pile up; nothing looks back
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
