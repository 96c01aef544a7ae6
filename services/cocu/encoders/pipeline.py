"""Embedding a stream of pictures: threads decode and resize while the encoder computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from cocu.encoders.encoder import Encoder, Float32s, ModelChangedError, Pixels
from cocu.encoders.fingerprints import fingerprint
from cocu.errors import CocuError, IntegrityError

__all__ = ["ITEM_ERRORS", "Embedded", "embed_stream"]

Item = TypeVar("Item")

ITEM_ERRORS: tuple[type[Exception], ...] = (
    CocuError,
    OSError,
    ValueError,
    SyntaxError,  # Pillow's word for a broken PNG
    EOFError,
    Image.DecompressionBombError,
)
"""What loading one item may raise without ending the stream; anything else is a fault of the program."""


@dataclass(frozen=True)
class Embedded(Generic[Item]):
    """One item of the stream: its embedding, float32 [D], or the error that kept it from having one.

    fingerprint: of the picture as it was embedded (see `fingerprints`); None where it could not be loaded.
    """

    item: Item
    embedding: Float32s | None
    fingerprint: int | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class _Prepared:
    pixels_HWC: Pixels
    fingerprint: int


_Pending: TypeAlias = tuple[Item, "Future[_Prepared]"]


def embed_stream(
    encoder: Encoder,
    items: Iterable[Item],
    *,
    load: Callable[[Item], Image.Image],
    batch: int = 64,
    threads: int = 2,
) -> Iterator[Embedded[Item]]:
    """Embed items in order, one result per item, whatever happens to it.

    `load` turns an item into a picture; it runs in `threads` threads beside the inference, as does the
    resizing. The encoder is given as many batches at once as it works on (`Encoder.parallel`), and at most
    two more are held at a time, so `items` may be endless. An item whose loading raises one of ITEM_ERRORS,
    or on which the encoder fails, comes back with that error; any other error ends the stream, as does an
    encoder that is unavailable or has been replaced. The same items are always batched in the same way.
    """
    if batch < 1 or threads < 1:
        raise ValueError(f"batch and threads must be at least 1, not {batch} and {threads}")

    def prepare(item: Item) -> _Prepared:
        with load(item) as image:
            pixels_HWC = encoder.preprocess(image)
        return _Prepared(pixels_HWC, fingerprint(pixels_HWC))

    source = iter(items)
    decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    embedders = ThreadPoolExecutor(encoder.parallel, thread_name_prefix="embed")
    window: deque[Future[list[Embedded[Item]]]] = deque()
    try:
        while True:
            # One batch more than the encoder works on decodes meanwhile.
            while len(window) <= encoder.parallel:
                ready = [(item, decoders.submit(prepare, item)) for item in islice(source, batch)]
                if not ready:
                    break
                window.append(embedders.submit(_embed, encoder, ready))
            if not window:
                return
            yield from window.popleft().result()
    finally:
        # What is being decoded reads what the caller may close next. What is being computed is not waited
        # for: that may be another machine's work.
        embedders.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=True, cancel_futures=True)


def _embed(encoder: Encoder, ready: Sequence[_Pending[Item]]) -> list[Embedded[Item]]:
    outcomes = [_outcome(future) for _, future in ready]
    prepared = [outcome for outcome in outcomes if isinstance(outcome, _Prepared)]
    embedded = iter(_embed_or_split(encoder, [each.pixels_HWC for each in prepared]))
    results = []
    for (item, _), outcome in zip(ready, outcomes, strict=True):
        if isinstance(outcome, Exception):
            results.append(Embedded(item, None, error=outcome))
            continue
        embedding = next(embedded)
        if isinstance(embedding, Exception):
            results.append(Embedded(item, None, outcome.fingerprint, embedding))
        else:
            results.append(Embedded(item, embedding, outcome.fingerprint))
    return results


def _outcome(future: Future[_Prepared]) -> _Prepared | Exception:
    try:
        return future.result()
    except ITEM_ERRORS as error:
        return error


def _embed_or_split(encoder: Encoder, pixels: list[Pixels]) -> list[Float32s | IntegrityError]:
    """Embed a batch; where the encoder fails, halve it until the pictures at fault stand alone."""
    if not pixels:
        return []
    try:
        return list(encoder.embed_images(np.stack(pixels)))
    except ModelChangedError:
        # No picture is at fault.
        raise
    except IntegrityError as error:
        if len(pixels) == 1:
            return [error]
        half = len(pixels) // 2
        return _embed_or_split(encoder, pixels[:half]) + _embed_or_split(encoder, pixels[half:])
