"""The Arrow encoding: an IPC stream with the schema, a record batch per batch, the end-of-stream marker."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from cocu.batches.epoch import Epoch

Piece = bytes | memoryview
MEDIA_TYPE = "application/vnd.apache.arrow.stream"


_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The end-of-stream marker."""


def encode(epoch: Epoch) -> Iterator[list[Piece]]:
    """Yield the bytes of the stream, batch by batch, without copying images."""
    return _with_images(epoch) if epoch.parameters.images else _without_images(epoch)


def _without_images(epoch: Epoch) -> Iterator[list[Piece]]:
    start: list[Piece] = [memoryview(epoch.schema.serialize())]
    for batch in epoch.batches():
        yield [*start, memoryview(batch.serialize())]
        start = []
    yield [*start, _END]


def _with_images(epoch: Epoch) -> Iterator[list[Piece]]:
    sink = _Pieces()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), epoch.schema) as writer:
        # Arrow writes the schema together with the first batch.
        for batch in epoch.batches():
            writer.write_batch(batch)
            del batch
            yield sink.drain()
    yield sink.drain()


class _Pieces(io.RawIOBase):
    """A file that collects buffers without copying them, until `drain` returns them."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        # Arrow passes its own buffers, which live as long as the view.
        piece = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._pieces.append(piece)
        return len(piece)

    def drain(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces
