"""A stream as Arrow IPC: the schema, a record batch per batch, the end-of-stream marker."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from cocu.batches.epoch import Epoch

Piece = bytes | memoryview
MEDIA_TYPE = "application/vnd.apache.arrow.stream"


_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The end-of-stream marker."""


def encoded(epoch: Epoch) -> Iterator[list[Piece]]:
    """The bytes of the stream, batch by batch; images are not copied."""
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
        # The schema comes with the first batch.
        for batch in epoch.batches():
            writer.write_batch(batch)
            del batch
            yield sink.taken()
    yield sink.taken()


class _Pieces(io.RawIOBase):
    """Keeps what is written, without copying it, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        # Arrow hands over its own buffers, which live as long as the view does.
        piece = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces
