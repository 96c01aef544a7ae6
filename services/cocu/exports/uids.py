"""The list of uids that DataComp's tools take as a subset."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cocu.errors import ConflictError
from cocu.exports.export import Export

UID = np.dtype("u8,u8")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_PIECE_BYTES = 1 << 20


def uid_list(export: Export) -> Iterator[bytes]:
    """An .npy of (high, low) 64-bit halves of every sample's uid, ascending; 16 bytes per sample in memory.

    A uid is the `uid` in the metadata uploaded with the sample, as in DataComp's own shards (32 hex digits),
    else the first 128 bits of the SHA-256 of the image's bytes. Samples with the same image then have the
    same uid, which is in the list once for each of them. Raises ConflictError for a sample that has neither,
    because it was uploaded as an embedding.
    """
    target = io.BytesIO()
    np.save(target, _uids(export), allow_pickle=False)
    data = target.getbuffer()
    for start in range(0, len(data), _PIECE_BYTES):
        yield bytes(data[start : start + _PIECE_BYTES])


def _uids(export: Export) -> NDArray[np.void]:
    uids_N = np.empty(export.record.samples, UID)
    row = 0
    for shard in export.shard_exports():
        keys, hashes = (shard.table[name].to_pylist() for name in ("key", "sha256"))
        for key, digest, metadata in zip(keys, hashes, shard.metadata(), strict=True):
            uid = split_uid(metadata.get("uid"), digest)
            if uid is None:
                raise ConflictError(
                    f"sample {key!r} is an embedding without a uid, so DataComp's tools cannot find it; "
                    "choose another format"
                )
            uids_N[row] = uid
            row += 1
    return np.sort(uids_N)


def split_uid(uid: object, sha256: str | None) -> tuple[int, int] | None:
    """The uid of a sample as two numbers; None for one that has neither uid nor image.

    >>> split_uid("0123456789abcdef0000000000000010", "") == (0x0123456789ABCDEF, 16)
    True
    >>> split_uid(None, "0" * 15 + "1" + "0" * 15 + "2" + "f" * 32)
    (1, 2)
    """
    digits = uid if isinstance(uid, str) and _HEX.fullmatch(uid) else sha256
    if digits is None:
        return None
    digits = digits[:32]
    return int(digits[:16], 16), int(digits[16:], 16)
