from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.encoders.tiny_bundle import SIZE, write_tiny_bundle

from cocu.encoders import Bundle, InProcessEncoder, embed_stream, open_encoder
from cocu.encoders.encoder import Float32s, ModelChangedError, Pixels
from cocu.encoders.perceptual_hash import phash
from cocu.errors import IntegrityError, UnavailableError


@pytest.fixture
def encoder(tmp_path: Path) -> InProcessEncoder:
    return open_encoder(write_tiny_bundle(tmp_path), threads=1)


def image(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(1, 256, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("threads", [1, 4])
def test_embed_stream__keeps_order_and_values(encoder: InProcessEncoder, batch: int, threads: int) -> None:
    results = list(embed_stream(encoder, range(10), load=image, batch=batch, threads=threads))
    assert [result.item for result in results] == list(range(10))
    for result in results:
        pixels_HWC = encoder.preprocess(image(result.item))
        assert result.error is None
        assert result.phash == phash(pixels_HWC)
        np.testing.assert_allclose(result.embedding, encoder.embed_images(pixels_HWC[None])[0], atol=1e-5)


def test_embed_stream__reports_an_item_that_fails_and_goes_on(encoder: InProcessEncoder) -> None:
    def load(item: int) -> Image.Image:
        if item == 4:
            raise OSError("truncated")
        return Image.new("RGB", (SIZE, SIZE)) if item in {2, 7} else image(item)

    results = list(embed_stream(encoder, range(9), load=load, batch=4))
    assert [result.item for result in results] == list(range(9))
    assert [result.item for result in results if result.embedding is None] == [2, 4, 7]
    assert isinstance(results[2].error, IntegrityError)
    assert str(results[4].error) == "truncated"


def test_embed_stream__of_nothing_but_failures(encoder: InProcessEncoder) -> None:
    def load(item: int) -> Image.Image:
        raise ValueError(item)

    assert [result.error is None for result in embed_stream(encoder, range(3), load=load)] == [False] * 3


def test_embed_stream__lets_faults_of_the_program_through(encoder: InProcessEncoder) -> None:
    def load(item: int) -> Image.Image:
        raise KeyError(item)

    with pytest.raises(KeyError):
        list(embed_stream(encoder, range(3), load=load))


def test_embed_stream__reads_no_further_than_two_batches_ahead(encoder: InProcessEncoder) -> None:
    items_read: list[int] = []

    def endless() -> Iterator[int]:
        for number in count():
            items_read.append(number)
            yield number

    stream = embed_stream(encoder, endless(), load=image, batch=4, threads=2)
    assert [result.item for result in islice(stream, 5)] == list(range(5))
    assert len(items_read) <= 12
    stream.close()  # type: ignore[attr-defined]


class ManyAtOnce(InProcessEncoder):
    """Takes three batches at once, and raises the given error at the fifth."""

    parallel = 3
    error: Exception | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(Bundle.load(folder), threads=1)
        self.barrier = threading.Barrier(3, timeout=30)
        self.calls = count()

    def embed_images(self, pixels_NHWC: Pixels) -> Float32s:
        number = next(self.calls)
        if number < 3:
            self.barrier.wait()
        if number >= 4 and self.error is not None:
            raise self.error
        return super().embed_images(pixels_NHWC)


def test_embed_stream__gives_several_batches_at_once_and_keeps_order(
    encoder: InProcessEncoder, tmp_path: Path
) -> None:
    many = ManyAtOnce(tmp_path)
    results = list(embed_stream(many, range(40), load=image, batch=4))
    assert [result.item for result in results] == list(range(40))
    for result, other in zip(results, embed_stream(encoder, range(40), load=image, batch=4), strict=True):
        np.testing.assert_array_equal(result.embedding, other.embedding)
    # Three batches ran at once, otherwise the barrier would be broken.
    assert not many.barrier.broken


@pytest.mark.parametrize("error", [ModelChangedError("another"), UnavailableError("away")])
def test_embed_stream__ends_when_no_image_is_at_fault(
    encoder: InProcessEncoder, tmp_path: Path, error: Exception
) -> None:
    many = ManyAtOnce(tmp_path)
    many.error = error
    results = []
    with pytest.raises(type(error), match=str(error)):
        results.extend(embed_stream(many, range(400), load=image, batch=4))
    assert next(many.calls) < 12


def test_embed_stream__leaves_no_threads_behind(encoder: InProcessEncoder) -> None:
    stream = embed_stream(encoder, count(), load=image, batch=2, threads=3)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_embed_stream__refuses_empty_batches(encoder: InProcessEncoder) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(embed_stream(encoder, range(3), load=image, batch=0))
