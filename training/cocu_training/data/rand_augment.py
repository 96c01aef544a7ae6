"""RandAugment (Cubuk et al. 2020): draws two of fifteen operations and applies each half of the time.

This is the variant of GroupViT and DeiT: magnitude 9 of 10 with normal noise of 0.5, where a larger magnitude
means a stronger effect of every operation.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageEnhance, ImageOps

OPERATIONS_EACH = 2
PROBABILITY = 0.5
MAGNITUDE, MAGNITUDE_DEVIATION, LARGEST = 9.0, 0.5, 10.0

FILL = (124, 116, 104)
"""The mean colour of ImageNet, which fills what lies outside the image."""

Operation = Callable[[Image.Image, float, random.Random], Image.Image]


def rand_augment(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return an RGB image, augmented, of the same size."""
    for operation in rng.choices(OPERATIONS, k=OPERATIONS_EACH):
        if rng.random() < PROBABILITY:
            magnitude = min(max(rng.gauss(MAGNITUDE, MAGNITUDE_DEVIATION), 0.0), LARGEST)
            image = operation(image, magnitude / LARGEST, rng)
    return image


def _signed(value: float, rng: random.Random) -> float:
    return value if rng.random() < 0.5 else -value


def _moved(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=FILL,
    )


def _rotate(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    degrees = _signed(30.0 * level, rng)
    return image.rotate(degrees, resample=Image.Resampling.BILINEAR, fillcolor=FILL)


def _shear_across(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(image, 1, _signed(0.3 * level, rng), 0, 0, 1, 0)


def _shear_down(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(image, 1, 0, 0, _signed(0.3 * level, rng), 1, 0)


def _shift_across(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(image, 1, 0, _signed(0.45 * level, rng) * image.width, 0, 1, 0)


def _shift_down(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(image, 1, 0, 0, 0, 1, _signed(0.45 * level, rng) * image.height)


def _posterize(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    # Pillow keeps at least one bit.
    return ImageOps.posterize(image, max(4 - int(4 * level), 1))


def _solarize(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return ImageOps.solarize(image, 256 - int(256 * level))


def _solarize_add(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
    added = int(110 * level)
    table = [min(value + added, 255) if value < 128 else value for value in range(256)]
    return image.point(table * 3)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def enhance(image: Image.Image, level: float, rng: random.Random) -> Image.Image:
        return kind(image).enhance(max(0.1, 1.0 + _signed(0.9 * level, rng)))

    return enhance


OPERATIONS: tuple[Operation, ...] = (
    lambda image, level, rng: ImageOps.autocontrast(image),
    lambda image, level, rng: ImageOps.equalize(image),
    lambda image, level, rng: ImageChops.invert(image),
    _rotate,
    _posterize,
    _solarize,
    _solarize_add,
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _shear_across,
    _shear_down,
    _shift_across,
    _shift_down,
)
"""The fifteen operations, functions of (image, level from 0 to 1, random generator)."""
