"""The protobuf encoding: messages of `proto/cocu/v1/batches.proto`, each preceded by its length."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from cocu.batches.epoch import Epoch
from cocu.batches.messages import batches_pb2 as messages

MEDIA_TYPE = "application/x-protobuf"


def encode(epoch: Epoch) -> Iterator[list[bytes]]:
    """Yield the bytes of the stream, batch by batch: a length and a message."""
    for number, batch in enumerate(epoch.batches(), start=epoch.parameters.start):
        message = messages.Batch(number=number, samples=_samples(batch))
        if number == epoch.parameters.start:
            message.epoch.CopyFrom(messages.Epoch(**epoch.description))
        data = message.SerializeToString()
        del batch, message
        yield [_varint(len(data)), data]


def _samples(batch: pa.RecordBatch) -> Iterator[messages.Sample]:
    columns = {
        name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    # The number of concepts is the length of their list.
    columns.pop("drawn")
    for values in zip(*columns.values(), strict=True):
        yield messages.Sample(**dict(zip(columns, values, strict=True)))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
