"""Embedding a stream of pictures: threads decode and resize while the encoder computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from cocu.encoders.encoder import Encoder, Float32s, Pixels
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
    """One item of the stream: its embedding, float32 [D], or the error that kept it from having one."""

    item: Item
    embedding: Float32s | None
    error: Exception | None = None


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
    resizing. At most two batches of items are held at a time, so `items` may be endless. An item whose
    loading raises one of ITEM_ERRORS, or on which the encoder fails, comes back with that error; any other
    error ends the stream. The same items are always batched in the same way.
    """
    if batch < 1 or threads < 1:
        raise ValueError(f"batch and threads must be at least 1, not {batch} and {threads}")

    def prepare(item: Item) -> Pixels:
        with load(item) as image:
            return encoder.preprocess(image)

    source = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:

        def submit() -> list[tuple[Item, Future[Pixels]]]:
            return [(item, pool.submit(prepare, item)) for item in islice(source, batch)]

        following: list[tuple[Item, Future[Pixels]]] = []
        try:
            ready = submit()
            while ready:
                # The next batch decodes while this one is computed.
                following = submit()
                yield from _embed(encoder, ready)
                ready = following
        finally:
            for _, future in following:
                future.cancel()


def _embed(encoder: Encoder, ready: list[tuple[Item, Future[Pixels]]]) -> list[Embedded[Item]]:
    results: list[Embedded[Item]] = []
    positions: list[int] = []
    pixels: list[Pixels] = []
    for item, future in ready:
        error: Exception | None = None
        try:
            pixels.append(future.result())
            positions.append(len(results))
        except ITEM_ERRORS as caught:
            error = caught
        results.append(Embedded(item, None, error))
    for position, outcome in zip(positions, _embed_or_split(encoder, pixels), strict=True):
        item = results[position].item
        results[position] = (
            Embedded(item, None, outcome) if isinstance(outcome, Exception) else Embedded(item, outcome)
        )
    return results


def _embed_or_split(encoder: Encoder, pixels: list[Pixels]) -> list[Float32s | IntegrityError]:
    """Embed a batch; where the encoder fails, halve it until the pictures at fault stand alone."""
    if not pixels:
        return []
    try:
        return list(encoder.embed_images(np.stack(pixels)))
    except IntegrityError as error:
        if len(pixels) == 1:
            return [error]
        half = len(pixels) // 2
        return _embed_or_split(encoder, pixels[:half]) + _embed_or_split(encoder, pixels[half:])
