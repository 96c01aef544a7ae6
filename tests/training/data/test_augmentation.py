"""Images to pixels: sizes, shares, and nothing but the image and the seed."""

from __future__ import annotations

import io
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch")

from cocu_training.data.augmentation import Augmentation, erase, normalised, random_box
from cocu_training.data.rand_augment import FILL, OPERATIONS, rand_augment
from cocu_training.errors import DataError


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    red = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    green = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([red, green, np.full_like(red, 128)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("strength", ["none", "light", "full"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pixels_are_a_function_of_image_and_seed(strength: str, kind: str) -> None:
    image = encoded(gradient(90, 70), kind)
    augmentation = Augmentation(size=32, strength=strength)
    first, again = augmentation(image, seed=5), augmentation(memoryview(image), seed=5)
    assert first.shape == (3, 32, 32)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    others = [augmentation(image, seed=seed) for seed in range(8)]
    assert len({other.tobytes() for other in others}) == (1 if strength == "none" else 8)


def test_none_is_the_square_in_the_middle() -> None:
    pixels = Augmentation(size=40, strength="none")(encoded(gradient(120, 40)), seed=0)
    np.testing.assert_array_equal(pixels, gradient(120, 40)[:, 40:80].transpose(2, 0, 1))


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    seed=st.integers(0, 99),
    smallest=st.sampled_from([0.08, 0.5, 1.0]),
)
def test_boxes_lie_inside(width: int, height: int, seed: int, smallest: float) -> None:
    left, top, right, bottom = random_box(width, height, random.Random(seed), smallest=smallest)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_boxes_have_the_areas_and_ratios_asked_for() -> None:
    boxes = [random_box(500, 500, random.Random(seed), smallest=0.08) for seed in range(4000)]
    sides = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes])
    areas, ratios = sides.prod(axis=1) / 250_000, sides[:, 0] / sides[:, 1]
    assert 0.075 < areas.min() < 0.1
    assert areas.max() > 0.95
    # Those near the whole seldom fit with their ratio, so the mean is below that of the range.
    assert 0.45 < areas.mean() < 0.54
    assert ratios.min() > 0.74
    assert ratios.max() < 1.35
    assert abs(np.log(ratios).mean()) < 0.01
    lefts = np.array([left / max(500 - (right - left), 1) for left, _, right, _ in boxes])
    assert abs(lefts.mean() - 0.5) < 0.02


def test_half_of_the_images_are_mirrored() -> None:
    image = encoded(gradient(64, 64))
    augmentation = Augmentation(size=16, strength="light", smallest_crop=0.9)
    mirrored = [
        int(pixels[0, :, 0].mean()) > int(pixels[0, :, -1].mean())
        for pixels in (augmentation(image, seed=seed) for seed in range(400))
    ]
    assert 150 < sum(mirrored) < 250


def test_decoding_at_a_lower_resolution_looks_the_same() -> None:
    large = gradient(1600, 1200)
    for seed in range(6):
        from_jpeg = Augmentation(size=32, strength="light")(encoded(large, "JPEG", quality=95), seed=seed)
        from_png = Augmentation(size=32, strength="light")(encoded(large), seed=seed)
        assert np.abs(from_jpeg.astype(int) - from_png).mean() < 3


def test_images_are_turned_as_their_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = Augmentation(size=40, strength="none")(
        encoded(gradient(40, 40), "JPEG", exif=exif, quality=100, subsampling=0), seed=0
    )
    expected = gradient(40, 40)[::-1, ::-1].transpose(2, 0, 1)
    assert np.abs(turned.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_every_kind_of_colour_becomes_rgb(mode: str) -> None:
    out = io.BytesIO()
    image = Image.new("L", (30, 20), 100) if mode == "I;16" else Image.new("RGB", (30, 20), (9, 99, 199))
    image.convert(mode).save(out, "JPEG" if mode == "CMYK" else "PNG")
    assert Augmentation(size=8)(out.getvalue(), seed=1).shape == (3, 8, 8)


@pytest.mark.parametrize("image", [b"", b"nonsense", encoded(gradient(50, 50), "JPEG")[:300]])
def test_what_is_no_image_is_an_error_of_ours(image: bytes) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        Augmentation(size=8)(image, seed=1)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_changes_the_image_and_keeps_its_size(operation: object) -> None:
    # An edge, for the operation that sharpens them.
    pixels = gradient(48, 32) // 2 + 20
    pixels[8:16, 8:16] += 60
    image = Image.fromarray(pixels)
    changed = operation(image, 0.9, random.Random(0))  # type: ignore[operator]
    assert changed.size == (48, 32)
    assert changed.mode == "RGB"
    assert changed.tobytes() != image.tobytes()


def test_what_is_moved_in_from_outside_has_the_mean_colour() -> None:
    shifted = OPERATIONS[-1](Image.new("RGB", (20, 20)), 1.0, random.Random(0))
    colours = {colour for _, colour in shifted.getcolors()}
    assert FILL in colours


def test_about_a_quarter_of_images_stay_as_they_are() -> None:
    image = Image.fromarray(gradient(24, 24) // 2 + 20)
    unchanged = sum(
        rand_augment(image, random.Random(seed)).tobytes() == image.tobytes() for seed in range(600)
    )
    # Two operations, each done half of the time.
    assert 110 < unchanged < 190


def test_erasing_puts_noise_in_one_rectangle() -> None:
    shares = []
    for seed in range(200):
        pixels = np.zeros((60, 60, 3), np.uint8)
        erase(pixels, random.Random(seed))
        rows, columns = np.nonzero(pixels.any(axis=2))
        if len(rows):
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert len(rows) > 0.9 * area
            shares.append(area / 3600)
    assert len(shares) > 190
    assert 0.01 < min(shares) < 0.05
    assert 0.25 < max(shares) < 0.36
    assert math.isclose(pixels[pixels > 0].mean(), 116, abs_tol=25)


def test_normalised_pixels_of_imagenet_have_mean_zero_and_deviation_one() -> None:
    pixels = torch.tensor([0.485, 0.456, 0.406])[:, None, None].mul(255).expand(1, 3, 2, 2)
    torch.testing.assert_close(normalised(pixels), torch.zeros(1, 3, 2, 2), atol=1e-5, rtol=0)
    assert normalised(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
