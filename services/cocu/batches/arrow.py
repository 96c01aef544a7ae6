"""A stream as Arrow IPC: the schema, a record batch per batch, the end-of-stream marker."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from cocu.batches.epoch import Epoch

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def encoded(epoch: Epoch) -> Iterator[memoryview]:
    """The bytes of the stream, in the pieces that Arrow writes; images are not copied."""
    sink = _Pieces()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), epoch.schema) as writer:
        yield from sink.taken()
        for batch in epoch.batches():
            writer.write_batch(batch)
            del batch
            yield from sink.taken()
    yield from sink.taken()


class _Pieces(io.RawIOBase):
    """Keeps what is written, without copying it, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        # Arrow hands over its own buffers, which live as long as the view does.
        piece = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> Iterator[memoryview]:
        pieces, self._pieces = self._pieces, []
        yield from pieces
