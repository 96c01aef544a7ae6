"""Batches: curated samples in the order of an epoch, read ahead in the background, taken up again when the
connection breaks off.

    for batch in client.batches.stream(curation, epoch=3, global_batch=256, rank=0, world_size=4):
        train(batch.images, batch.texts)
        resume_from = batch.number + 1

Arrow decodes them, so pyarrow must be installed.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cocu.client.exceptions import (
    ClientError,
    ConnectionFailedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from cocu.client.reading_ahead import read_ahead
from cocu.client.receiving import Receiver
from cocu.client.transport import RECEIVING_FAILED, Call, Transport, segment

if TYPE_CHECKING:
    import pyarrow

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What to stream of a curation.

    Order and draws are functions of the curation's content, `seed` and `epoch`. Each global batch is dealt
    out to `world_size` ranks; whatever their number, all together get the same samples. start: number of the
    first batch. concepts: texts of every sample. sampler: cluster, topk, uniform or caption (from what the
    sample's own caption names). size: the longest that the shorter side of an image may be, in pixels.
    prompts: templates (`templates`, or the 80 of ImageNet) or raw.
    """

    seed: int = 0
    epoch: int = 0
    global_batch: int = 1024
    rank: int = 0
    world_size: int = 1
    start: int = 0
    drop_last: bool = False
    concepts: int = 3
    sampler: str = "cluster"
    temperature: float = 1.0
    include_scores: bool = False
    images: bool = True
    size: int | None = None
    prompts: str = "templates"
    templates: tuple[str, ...] = ()

    @property
    def query(self) -> dict[str, Any]:
        """The request as query parameters."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["template"] = list(values.pop("templates")) or None
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Batch:
    """One rank's part of one global batch: B samples, none where the last one is too short for all ranks.

    number: of the global batch in its epoch. table: the Arrow record batch that all other columns are
    decoded from when they are first asked for.
    """

    number: int
    table: pyarrow.RecordBatch

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def keys(self) -> list[str]:
        """The keys of the samples."""
        return self._column("key")

    @cached_property
    def captions(self) -> list[str]:
        """Their captions."""
        return self._column("caption")

    @cached_property
    def images(self) -> list[memoryview | None]:
        """Their encoded images, views into the batch; raises KeyError where none were asked for.

        None for a sample that came as an embedding, without its picture.
        """
        column = self.table.column("image")
        _, offsets, data = column.buffers()
        if not len(column) or data is None:
            return [None] * len(column)
        # By their places in memory: Arrow's scalars would be copies.
        places = memoryview(offsets).cast("B").cast("q")[column.offset : column.offset + len(column) + 1]
        whole = memoryview(data).cast("B")
        return [whole[start:end] if start < end else None for start, end in pairwise(places)]

    @cached_property
    def formats(self) -> list[str | None]:
        """jpg, png or webp; None without an image."""
        return self._column("format")

    @cached_property
    def concepts(self) -> list[list[str]]:
        """The concepts drawn for each: at most as many as asked for."""
        return self._column("concepts")

    @cached_property
    def concept_ids(self) -> list[list[int]]:
        """Their places in the curation's vocabulary."""
        return self._column("concept_ids")

    @cached_property
    def texts(self) -> list[list[str]]:
        """As many as asked for: the concepts in their templates, then the caption as often as it takes."""
        return self._column("texts")

    @cached_property
    def drawn(self) -> list[int]:
        """How many of the texts name a concept."""
        return self._column("drawn")

    @cached_property
    def scores(self) -> list[list[float]]:
        """The concepts' scores; raises KeyError where none were asked for."""
        return self._column("scores")

    def __reduce__(self) -> tuple[type[Batch], tuple[int, pyarrow.RecordBatch]]:
        # Views into memory do not go to another process; the table does.
        return Batch, (self.number, self.table)

    def _column(self, name: str) -> list[Any]:
        values: list[Any] = self.table.column(name).to_pylist()
        return values


class Batches:
    """`client.batches`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def stream(
        self,
        curation: str,
        request: BatchRequest | None = None,
        *,
        prefetch: int = 2,
        reconnects: int = 8,
        **parameters: Any,
    ) -> Generator[Batch, None, None]:
        """Every batch of an epoch from `start` on, each once, in order.

        parameters: the fields of a `BatchRequest`, in its place or on top of it. prefetch: how many batches
        are read ahead, on a thread of their own; 0 reads each when it is asked for. A connection that breaks
        off is taken up after the last batch that arrived whole, up to `reconnects` times in a row without
        one. Raises ClientError without pyarrow, UnexpectedAnswerError when the curation's content changed
        meanwhile.
        """
        given = request or BatchRequest()
        asked = BatchRequest(**{**vars(given), **parameters})
        _pyarrow()
        batches = self._resumed(curation, asked, reconnects)
        return read_ahead(batches, prefetch) if prefetch else batches

    def _resumed(self, curation: str, asked: BatchRequest, reconnects: int) -> Generator[Batch, None, None]:
        number, failures = asked.start, 0
        content: str | None = None
        while True:
            try:
                with closing(self._of_one_connection(curation, asked, number)) as received:
                    of_connection, total = next(received)
                    if content not in (None, of_connection):
                        raise UnexpectedAnswerError(
                            f"curation {curation} has other archives than when this epoch began"
                        )
                    content = of_connection
                    for batch in received:
                        yield batch
                        number, failures = batch.number + 1, 0
                if number >= total:
                    return
                raise ConnectionFailedError(f"the stream ended after {number} of {total} batches")
            except (ConnectionFailedError, UnavailableError) as error:
                failures += 1
                if failures > reconnects:
                    raise
                asked_for = error.retry_after if isinstance(error, UnavailableError) else None
                time.sleep(asked_for or min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))

    def _of_one_connection(
        self, curation: str, asked: BatchRequest, start: int
    ) -> Generator[Any, None, None]:
        """(content hash, batches of the epoch), then the batches until the stream ends or breaks off."""
        arrow = _pyarrow()
        call = Call(
            path=f"/v1/curations/{segment(curation)}/batches",
            params={**asked.query, "start": start},
            headers={"Accept": MEDIA_TYPE},
        )
        with self._transport.receive(call) as receiver:
            try:
                with arrow.ipc.open_stream(_Body(receiver)) as reader:
                    metadata = reader.schema.metadata
                    yield metadata[b"content_hash"].decode(), int(metadata[b"batches"])
                    for number, table in enumerate(reader, start):
                        yield Batch(number, table)
            except (*RECEIVING_FAILED, arrow.ArrowException, EOFError) as error:
                raise ConnectionFailedError(
                    f"the batches of curation {curation} broke off: {error or type(error).__name__}"
                ) from error
            except (KeyError, TypeError) as error:
                raise UnexpectedAnswerError(
                    "the answer is an Arrow stream, but not of batches; is the server of the same version?"
                ) from error


class _Body:
    """The bytes of an answer as the file that Arrow reads from."""

    closed = False

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def read(self, count: int) -> Any:
        """`count` bytes, fewer only at the end, in memory of Arrow, which keeps what is freed for a while:
        the first touch of new memory takes longer than filling it."""
        buffer = _pyarrow().allocate_buffer(count)
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < count:
            received = self._receiver.readinto(target[filled:])
            if not received:
                return buffer.slice(0, filled)
            filled += received
        return buffer


def _pyarrow() -> Any:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise ClientError(
            "batches are decoded by pyarrow, which is not installed: pip install pyarrow"
        ) from error
