"""The list of uids that DataComp's tools take as a subset."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cocu.exports.export import Export

UID = np.dtype("u8,u8")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_PIECE = 1 << 20


def uid_list(export: Export) -> Iterator[bytes]:
    """An .npy of (high, low) 64-bit halves of every sample's uid, ascending; 16 bytes a sample in memory.

    A uid is the `uid` of the metadata that came with the sample, as DataComp's own shards have it (32 hex
    digits), else the first 128 bits of the SHA-256 of the image's bytes. Samples with one image then have
    one uid, which stands in the list as often as there are such samples.
    """
    target = io.BytesIO()
    np.save(target, _uids(export), allow_pickle=False)
    data = target.getbuffer()
    for start in range(0, len(data), _PIECE):
        yield bytes(data[start : start + _PIECE])


def _uids(export: Export) -> NDArray[np.void]:
    uids_N = np.empty(export.record.samples, UID)
    row = 0
    for shard in export.shard_exports():
        hashes = shard.table["sha256"].to_pylist()
        for digest, metadata in zip(hashes, shard.metadata(), strict=True):
            uids_N[row] = halves(metadata.get("uid"), digest)
            row += 1
    return np.sort(uids_N)


def halves(uid: object, sha256: str) -> tuple[int, int]:
    """The uid of a sample as two numbers.

    >>> halves("0123456789abcdef0000000000000010", "") == (0x0123456789ABCDEF, 16)
    True
    >>> halves(None, "0" * 15 + "1" + "0" * 15 + "2" + "f" * 32)
    (1, 2)
    """
    digits = uid if isinstance(uid, str) and _HEX.fullmatch(uid) else sha256[:32]
    return int(digits[:16], 16), int(digits[16:], 16)
