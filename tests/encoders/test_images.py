from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cocu.encoders.bundle import ImageTower
from cocu.encoders.images import preprocess
from cocu.encoders.perceptual_hash import phash

TOWER = ImageTower(file="image.onnx", input="pixels", output="embedding", size=32)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(deadline=None, max_examples=50)
@given(width=st.integers(1, 200), height=st.integers(1, 200))
def test_preprocess__keeps_the_centre_of_the_image(width: int, height: int) -> None:
    image = noise(width, height)
    shortest = min(width, height)
    resized = image.resize((32 * width // shortest, 32 * height // shortest), Image.Resampling.BICUBIC)
    left, top = round((resized.width - 32) / 2), round((resized.height - 32) / 2)
    expected_HWC = np.asarray(resized.crop((left, top, left + 32, top + 32))).astype(int)
    # Pillow's filter sees less of the surroundings where only the middle of a very long image is resized.
    allowed = 0 if max(width, height) <= 8 * shortest else 48
    assert np.abs(preprocess(image, TOWER) - expected_HWC).max() <= allowed


@pytest.mark.parametrize("shape", [(1, 1), (1, 60_000), (60_000, 1), (3, 59_999)])
def test_preprocess__of_extreme_shapes_takes_little_memory(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    tracemalloc.start()
    pixels_HWC = preprocess(image, TOWER)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels_HWC.shape == (32, 32, 3)
    assert peak < 4 << 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_preprocess__takes_every_mode(mode: str) -> None:
    pixels_HWC = preprocess(Image.new(mode, (40, 50)), TOWER)
    assert pixels_HWC.dtype == np.uint8
    assert pixels_HWC.shape == (32, 32, 3)


def test_preprocess__squashes_where_the_bundle_says_so() -> None:
    tower = ImageTower(file="i", input="p", output="e", size=32, resize="squash", interpolation="bilinear")
    image = noise(90, 45)
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(preprocess(image, tower), expected)


def test_phash__survives_a_copy_and_not_another_image() -> None:
    random = np.random.default_rng(0)
    first, other = (
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((300, 200))
        for _ in range(2)
    )
    copy = first.resize((150, 100)).convert("L")
    assert distance(first, copy) <= 4
    assert distance(first, other) >= 16
    assert phash(preprocess(Image.new("RGB", (50, 50)), TOWER)) == 0


def test_phash__reads_rows_from_the_left_and_the_top() -> None:
    brighter_HWC = np.tile(np.arange(72, dtype=np.uint8)[None, :, None], (64, 1, 3))
    assert phash(brighter_HWC) == 2**64 - 1
    assert phash(brighter_HWC[:, ::-1]) == 0
    brighter_HWC[:8, :8] = 100
    assert phash(brighter_HWC) == 2**63 - 1


def distance(a: Image.Image, b: Image.Image) -> int:
    return (phash(preprocess(a, TOWER)) ^ phash(preprocess(b, TOWER))).bit_count()
