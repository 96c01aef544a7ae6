"""Embedding a stream of images: threads decode and resize while the encoder computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from cocu import machine
from cocu.encoders.encoder import Encoder, Float32s, ModelChangedError, Pixels
from cocu.encoders.perceptual_hash import phash
from cocu.errors import CocuError, IntegrityError

__all__ = ["ITEM_ERRORS", "EmbeddingResult", "embed_stream"]

Item = TypeVar("Item")

ITEM_ERRORS: tuple[type[Exception], ...] = (
    CocuError,
    OSError,
    ValueError,
    SyntaxError,  # Pillow raises it for a broken PNG
    EOFError,
    Image.DecompressionBombError,
)
"""Errors of loading one item, which do not end the stream; any other error is a bug."""


@dataclass(frozen=True)
class EmbeddingResult(Generic[Item]):
    """The result for one item: its embedding, float32 [D], or the error that prevented it.

    phash: the perceptual hash of the preprocessed image; None when the image could not be loaded.
    """

    item: Item
    embedding: Float32s | None
    phash: int | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class _Prepared:
    pixels_HWC: Pixels
    phash: int


_Pending: TypeAlias = tuple[Item, "Future[_Prepared]"]


def embed_stream(
    encoder: Encoder,
    items: Iterable[Item],
    *,
    load: Callable[[Item], Image.Image],
    batch: int = 64,
    threads: int = 2,
) -> Iterator[EmbeddingResult[Item]]:
    """Embed items in order and yield one result per item, also for items that fail.

    `load` opens the image of an item; it runs in `threads` threads beside the inference, as does the
    resizing. The encoder gets `Encoder.parallel` batches at once, and at most two more are in memory, so
    `items` may be endless. If loading an item raises one of ITEM_ERRORS, or the encoder fails on it, its
    result carries that error. Any other error ends the stream, as does an encoder that is unavailable or
    has been replaced. The same items are always batched in the same way.
    """
    if batch < 1 or threads < 1:
        raise ValueError(f"batch and threads must be at least 1, not {batch} and {threads}")

    def prepare(item: Item) -> _Prepared:
        with load(item) as image:
            pixels_HWC = encoder.preprocess(image)
        return _Prepared(pixels_HWC, phash(pixels_HWC))

    source = iter(items)
    decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    embedders = ThreadPoolExecutor(encoder.parallel, thread_name_prefix="embed")
    window: deque[Future[list[EmbeddingResult[Item]]]] = deque()
    try:
        while True:
            # One more batch than the encoder computes is being decoded.
            while len(window) <= encoder.parallel:
                ready = [(item, decoders.submit(prepare, item)) for item in islice(source, batch)]
                if not ready:
                    break
                window.append(embedders.submit(_embed, encoder, ready))
            if not window:
                return
            yield from window.popleft().result()
    finally:
        # Wait for the decoders: they read what the caller may close next. Do not wait for the encoder: it may
        # run on another machine.
        embedders.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=True, cancel_futures=True)


def _embed(encoder: Encoder, ready: Sequence[_Pending[Item]]) -> list[EmbeddingResult[Item]]:
    outcomes = [_outcome(future) for _, future in ready]
    prepared = [outcome for outcome in outcomes if isinstance(outcome, _Prepared)]
    embeddings = iter(_embed_or_split(encoder, [image.pixels_HWC for image in prepared]))
    results = []
    for (item, _), outcome in zip(ready, outcomes, strict=True):
        if isinstance(outcome, Exception):
            results.append(EmbeddingResult(item, None, error=outcome))
            continue
        embedding = next(embeddings)
        if isinstance(embedding, Exception):
            results.append(EmbeddingResult(item, None, outcome.phash, embedding))
        else:
            results.append(EmbeddingResult(item, embedding, outcome.phash))
    return results


def _outcome(future: Future[_Prepared]) -> _Prepared | Exception:
    try:
        return future.result()
    except ITEM_ERRORS as error:
        # The image is not to blame if the process lacks memory, disk or files: that ends the stream.
        machine.raise_machine_error(error, "load an image")
        return error


def _embed_or_split(encoder: Encoder, pixels: list[Pixels]) -> list[Float32s | IntegrityError]:
    """Embed a batch; where the encoder fails, halve the batch until the failing images stand alone."""
    if not pixels:
        return []
    try:
        return list(encoder.embed_images(np.stack(pixels)))
    except ModelChangedError:
        # No image caused this.
        raise
    except IntegrityError as error:
        if len(pixels) == 1:
            return [error]
        half = len(pixels) // 2
        return _embed_or_split(encoder, pixels[:half]) + _embed_or_split(encoder, pixels[half:])
