"""Augmentation: from an encoded image to pixels of one size, as a function of the image and a seed.

Source: GroupViT, section 4.1, which takes the recipe of timm.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from cocu_training.configuration import Strength
from cocu_training.data.rand_augment import rand_augment
from cocu_training.errors import DataError

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of the pixels of ImageNet, by channel."""

LEAST_RATIO, MOST_RATIO = 3 / 4, 4 / 3
CROP_ATTEMPTS = 10
ERASED = 0.25
_ORIENTATION = 0x0112

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]


def normalised(pixels_B3HW: Tensor) -> Tensor:
    """Convert uint8 pixels to float32, normalised by the mean and the deviation of ImageNet."""
    mean_31 = torch.tensor(MEAN, device=pixels_B3HW.device)[:, None, None]
    deviation_31 = torch.tensor(DEVIATION, device=pixels_B3HW.device)[:, None, None]
    return (pixels_B3HW.float() / 255.0 - mean_31) / deviation_31


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Converts encoded images to pixels.

    size: S, pixels of a side. strength: "none" crops the largest central square; "light" crops a random box
    of at least `smallest_crop` of the area and mirrors it half of the time; "full" adds RandAugment and
    random erasing.
    """

    size: int
    strength: Strength = "full"
    smallest_crop: float = 0.08

    def __call__(self, image: bytes | memoryview, *, seed: int) -> Pixels:
        """Convert an encoded image to uint8 [3, S, S]. Raises DataError when it cannot be decoded."""
        rng = random.Random(seed)
        try:
            with Image.open(io.BytesIO(image)) as opened:
                cropped = self._cropped(opened, rng)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"an image cannot be decoded: {error}") from error
        if self.strength == "none":
            return _channels_first(cropped)
        if rng.random() < 0.5:
            cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.strength == "light":
            return _channels_first(cropped)
        pixels_HW3 = np.array(rand_augment(cropped, rng))
        if rng.random() < ERASED:
            erase(pixels_HW3, rng)
        return np.ascontiguousarray(pixels_HW3.transpose(2, 0, 1))

    def _cropped(self, opened: Image.Image, rng: random.Random) -> Image.Image:
        if opened.getexif().get(_ORIENTATION, 1) != 1:
            opened = ImageOps.exif_transpose(opened)
        width, height = opened.size
        box = (
            _square(width, height)
            if self.strength == "none"
            else random_box(width, height, rng, smallest=self.smallest_crop)
        )
        left, top, right, bottom = box
        # JPEG decodes faster at 1/2, 1/4 or 1/8 of the size; draft never goes below the needed pixels.
        needed = (
            math.ceil(width * self.size / (right - left)),
            math.ceil(height * self.size / (bottom - top)),
        )
        opened.draft("RGB", needed)
        across, down = opened.width / width, opened.height / height
        return opened.convert("RGB").resize(
            (self.size, self.size),
            Image.Resampling.BILINEAR,
            box=(left * across, top * down, right * across, bottom * down),
        )


def random_box(width: int, height: int, rng: random.Random, *, smallest: float) -> Box:
    """Draw a box in an image: of `smallest` to 1 of its area, with a ratio of sides of 3/4 to 4/3, anywhere.

    After ten draws that do not fit, return the largest central box with such a ratio.
    """
    for _ in range(CROP_ATTEMPTS):
        area = width * height * rng.uniform(smallest, 1.0)
        ratio = math.exp(rng.uniform(math.log(LEAST_RATIO), math.log(MOST_RATIO)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = rng.randint(0, width - across), rng.randint(0, height - down)
            return left, top, left + across, top + down
    across = min(width, max(1, round(height * MOST_RATIO)))
    down = min(height, max(1, round(width / LEAST_RATIO)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def erase(pixels_HW3: Pixels, rng: random.Random) -> None:
    """Replace a rectangle of 2 % to 33 % of the pixels by noise, in place (random erasing, Zhong et al.
    2020).

    The noise is normal with the mean and deviation of ImageNet's pixels, clipped at black and white.
    """
    height, width = pixels_HW3.shape[:2]
    for _ in range(CROP_ATTEMPTS):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if down < height and across < width:
            top, left = rng.randint(0, height - down), rng.randint(0, width - across)
            noise_HW3 = np.random.default_rng(rng.getrandbits(63)).standard_normal((down, across, 3))
            values_HW3 = (noise_HW3 * DEVIATION + MEAN) * 255.0
            pixels_HW3[top : top + down, left : left + across] = values_HW3.clip(0, 255).round()
            return


def _square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _channels_first(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
