"""Compares whole shards with the hashes that the catalog has."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cocu.errors import IntegrityError
from cocu.storage import arrays, checksums
from cocu.storage.objects import ObjectStore


def require(objects: ObjectStore, path: str, expected: str) -> Path:
    """Return the local file of a shard's tar after comparing its hash.

    expected: the hash of the tar, or of the tar and its embeddings. Each file is read once per process.
    Raises NotFoundError, IntegrityError.
    """
    local = objects.local_path(path)
    digest = _sha256(local, checksums.identity(local))
    if digest.hexdigest() != expected and not _matches_with_embeddings(objects, path, expected, digest):
        raise checksums.damaged(
            path, f"its content has SHA-256 {digest.hexdigest()[:16]}…, not {expected[:16]}…"
        )
    return local


def _matches_with_embeddings(objects: ObjectStore, path: str, expected: str, digest: Any) -> bool:
    """Whether `expected` is the hash of the tar followed by embeddings that were uploaded with it."""
    folder, shard = PurePosixPath(path).parents[1], PurePosixPath(path).stem
    for other in objects.list(str(folder / "embeddings")):
        if PurePosixPath(other).stem == shard:
            both = digest.copy()
            # Damaged embeddings do not mean that the tar is damaged.
            with suppress(IntegrityError):
                both.update(np.ascontiguousarray(arrays.read_embeddings(objects, other)).data)
            if both.hexdigest() == expected:
                return True
    return False


@lru_cache(maxsize=4096)
def _sha256(local: Path, identity: checksums.Identity) -> Any:
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
