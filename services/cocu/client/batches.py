"""Batches: curated samples in the order of an epoch, prefetched in the background.

A stream whose connection breaks is resumed at the next batch.

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
from cocu.client.prefetch import prefetch_items
from cocu.client.response_body import ResponseBody
from cocu.client.transport import CONNECTION_ERRORS, Call, Transport, segment

if TYPE_CHECKING:
    import pyarrow

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What to stream of a curation.

    The order of samples and the concepts drawn are functions of the curation's content, `seed` and `epoch`.
    Each global batch is split between `world_size` ranks; it has the same samples for every number of ranks.
    start: number of the first batch. concepts: number of texts per sample. sampler: cluster, topk, uniform or
    caption (only concepts that the sample's own caption names). size: the maximum length of an image's
    shorter side, in pixels. prompts: templates (`templates`, or the 80 of ImageNet) or raw.
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
    """One rank's part of one global batch: B samples; 0 if the last global batch is too short for all.

    number: of the global batch in its epoch. table: the Arrow record batch; each column is decoded from it at
    its first use.
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
        """The captions of the samples."""
        return self._column("caption")

    @cached_property
    def images(self) -> list[memoryview | None]:
        """The encoded images, as views into the batch; raises KeyError where the request has no images.

        None for a sample that was uploaded as an embedding, without its image.
        """
        column = self.table.column("image")
        _, offsets, data = column.buffers()
        if not len(column) or data is None:
            return [None] * len(column)
        # By their offsets in the buffer: Arrow's scalars would be copies.
        bounds = memoryview(offsets).cast("B").cast("q")[column.offset : column.offset + len(column) + 1]
        whole = memoryview(data).cast("B")
        return [whole[start:end] if start < end else None for start, end in pairwise(bounds)]

    @cached_property
    def formats(self) -> list[str | None]:
        """jpg, png or webp; None without an image."""
        return self._column("format")

    @cached_property
    def concepts(self) -> list[list[str]]:
        """The concepts drawn for each sample: `concepts` of the request, or fewer."""
        return self._column("concepts")

    @cached_property
    def concept_ids(self) -> list[list[int]]:
        """The indices of these concepts in the curation's vocabulary."""
        return self._column("concept_ids")

    @cached_property
    def texts(self) -> list[list[str]]:
        """The texts of each sample: its concepts in templates, then its caption as often as needed."""
        return self._column("texts")

    @cached_property
    def drawn(self) -> list[int]:
        """How many of the texts name a concept."""
        return self._column("drawn")

    @cached_property
    def scores(self) -> list[list[float]]:
        """The scores of the concepts; raises KeyError where the request has none."""
        return self._column("scores")

    def __reduce__(self) -> tuple[type[Batch], tuple[int, pyarrow.RecordBatch]]:
        # Views into memory cannot be pickled for another process; the table can.
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

        parameters: fields of a `BatchRequest`; they override those of `request`. prefetch: how many batches
        are read in advance, on another thread; with 0 each is read at its turn. A connection that breaks is
        resumed after the last complete batch; the stream ends with the error after `reconnects` failures
        without a batch between them. Raises ClientError without pyarrow, UnexpectedAnswerError when the
        curation's content changed during the stream.
        """
        request = BatchRequest(**{**vars(request or BatchRequest()), **parameters})
        _pyarrow()
        batches = self._stream_with_reconnects(curation, request, reconnects)
        return prefetch_items(batches, prefetch) if prefetch else batches

    def _stream_with_reconnects(
        self, curation: str, request: BatchRequest, reconnects: int
    ) -> Generator[Batch, None, None]:
        number, failures = request.start, 0
        content: str | None = None
        while True:
            try:
                with closing(self._stream_once(curation, request, number)) as batches:
                    content_hash, total = next(batches)
                    # Between two connections the platform may have been replaced. Batches of different
                    # archives must never be mixed in one epoch.
                    if content not in (None, content_hash):
                        raise UnexpectedAnswerError(
                            f"curation {curation} has other archives than when this epoch began"
                        )
                    content = content_hash
                    for batch in batches:
                        yield batch
                        number, failures = batch.number + 1, 0
                # An Arrow stream can end early without an error, so the number of batches is checked too.
                if number >= total:
                    return
                raise ConnectionFailedError(f"the stream ended after {number} of {total} batches")
            except (ConnectionFailedError, UnavailableError) as error:
                failures += 1
                if failures > reconnects:
                    raise
                retry_after = error.retry_after if isinstance(error, UnavailableError) else None
                time.sleep(retry_after or min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))

    def _stream_once(self, curation: str, request: BatchRequest, start: int) -> Generator[Any, None, None]:
        """First (content hash, batches in the epoch), then the batches until the stream ends or breaks."""
        arrow = _pyarrow()
        call = Call(
            path=f"/v1/curations/{segment(curation)}/batches",
            params={**request.query, "start": start},
            headers={"Accept": MEDIA_TYPE},
        )
        with self._transport.receive(call) as body:
            try:
                with arrow.ipc.open_stream(_ArrowInput(body)) as reader:
                    metadata = reader.schema.metadata
                    yield metadata[b"content_hash"].decode(), int(metadata[b"batches"])
                    for number, table in enumerate(reader, start):
                        yield Batch(number, table)
            except (*CONNECTION_ERRORS, arrow.ArrowException, EOFError) as error:
                raise ConnectionFailedError(
                    f"the batches of curation {curation} broke off: {error or type(error).__name__}"
                ) from error
            except (KeyError, TypeError) as error:
                raise UnexpectedAnswerError(
                    "the answer is an Arrow stream, but not of batches; is the server of the same version?"
                ) from error


class _ArrowInput:
    """The body of a response as a file that Arrow reads from."""

    closed = False

    def __init__(self, body: ResponseBody) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def read(self, count: int) -> Any:
        """`count` bytes, fewer only at the end of the body."""
        # In Arrow's pool, which reuses freed memory: to touch new pages takes longer than to fill them.
        buffer = _pyarrow().allocate_buffer(count)
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < count:
            received = self._body.readinto(target[filled:])
            if not received:
                return buffer.slice(0, filled)
            filled += received
        return buffer


def _pyarrow() -> Any:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise ClientError(
            'batches are decoded by pyarrow, which is not installed: pip install pyarrow (extra "batches")'
        ) from error
