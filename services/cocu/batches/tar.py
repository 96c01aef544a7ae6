"""The tar encoding: WebDataset, each sample as key.jpg, key.txt (its caption), key.json (what was drawn)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator

import pyarrow as pa

from cocu.batches import images
from cocu.batches.epoch import Epoch

MEDIA_TYPE = "application/x-tar"
Piece = bytes | memoryview
_BLOCK = 512
_LONGEST_NAME = 100


def encode(epoch: Epoch) -> Iterator[list[Piece]]:
    """Yield the bytes of the tar, batch by batch; a rank without a sample of the last batch adds none."""
    for batch in epoch.batches():
        yield list(_members(batch))
        del batch
    yield [bytes(2 * _BLOCK)]


def _members(batch: pa.RecordBatch) -> Iterator[Piece]:
    stored_images = images.views(batch.column("image")) if "image" in batch.schema.names else None
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "image"}
    formats = columns.pop("format", None)
    for position, key in enumerate(columns["key"]):
        if stored_images is not None and (image := stored_images[position]) is not None:
            yield from _member(f"{key}.{formats[position] or 'bin'}", image)
        yield from _member(f"{key}.txt", columns["caption"][position].encode())
        drawn = {name: column[position] for name, column in columns.items()}
        yield from _member(f"{key}.json", json.dumps(drawn, ensure_ascii=False).encode())


def _member(name: str, data: Piece) -> Iterator[Piece]:
    yield _header(name, len(data))
    yield data
    padding = -len(data) % _BLOCK
    if padding:
        yield bytes(padding)


def _header(name: str, size: int) -> bytes:
    raw = name.encode()
    if len(raw) > _LONGEST_NAME or not raw.isascii():
        information = tarfile.TarInfo(name)
        information.size = size
        return information.tobuf(tarfile.PAX_FORMAT)
    # The header that TarInfo writes for a plain name, in a tenth of the time.
    head = (
        raw.ljust(_LONGEST_NAME, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"%011o\0" % 0
    )
    tail = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    checksum = sum(head) + 8 * 32 + sum(tail)
    return head + b"%06o\0 " % checksum + tail
