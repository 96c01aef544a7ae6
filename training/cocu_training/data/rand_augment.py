"""RandAugment (Cubuk et al. 2020): two operations drawn from fifteen, each done half of the time.

The variant that GroupViT and DeiT train with: magnitude 9 of 10 with normal noise of 0.5, where more of it is
more of every operation.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageEnhance, ImageOps

OPERATIONS_EACH = 2
PROBABILITY = 0.5
MAGNITUDE, MAGNITUDE_DEVIATION, LARGEST = 9.0, 0.5, 10.0

FILL = (124, 116, 104)
"""The mean colour of ImageNet, where an operation uncovers what is outside of the picture."""

Operation = Callable[[Image.Image, float, random.Random], Image.Image]


def rand_augment(picture: Image.Image, rng: random.Random) -> Image.Image:
    """An RGB picture, changed; of the same size."""
    for operation in rng.choices(OPERATIONS, k=OPERATIONS_EACH):
        if rng.random() < PROBABILITY:
            magnitude = min(max(rng.gauss(MAGNITUDE, MAGNITUDE_DEVIATION), 0.0), LARGEST)
            picture = operation(picture, magnitude / LARGEST, rng)
    return picture


def _signed(value: float, rng: random.Random) -> float:
    return value if rng.random() < 0.5 else -value


def _moved(picture: Image.Image, *matrix: float) -> Image.Image:
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=FILL,
    )


def _rotate(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    degrees = _signed(30.0 * level, rng)
    return picture.rotate(degrees, resample=Image.Resampling.BILINEAR, fillcolor=FILL)


def _shear_across(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(picture, 1, _signed(0.3 * level, rng), 0, 0, 1, 0)


def _shear_down(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(picture, 1, 0, 0, _signed(0.3 * level, rng), 1, 0)


def _shift_across(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(picture, 1, 0, _signed(0.45 * level, rng) * picture.width, 0, 1, 0)


def _shift_down(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return _moved(picture, 1, 0, 0, 0, 1, _signed(0.45 * level, rng) * picture.height)


def _posterize(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    # Pillow keeps at least one bit.
    return ImageOps.posterize(picture, max(4 - int(4 * level), 1))


def _solarize(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    return ImageOps.solarize(picture, 256 - int(256 * level))


def _solarize_add(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
    added = int(110 * level)
    table = [min(value + added, 255) if value < 128 else value for value in range(256)]
    return picture.point(table * 3)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def enhance(picture: Image.Image, level: float, rng: random.Random) -> Image.Image:
        return kind(picture).enhance(max(0.1, 1.0 + _signed(0.9 * level, rng)))

    return enhance


OPERATIONS: tuple[Operation, ...] = (
    lambda picture, level, rng: ImageOps.autocontrast(picture),
    lambda picture, level, rng: ImageOps.equalize(picture),
    lambda picture, level, rng: ImageChops.invert(picture),
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
"""All fifteen, each of (picture, level from 0 to 1, randomness)."""
