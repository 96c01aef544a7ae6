"""Preprocessing: from a decoded image to the pixels that an image tower takes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cocu.encoders.bundle import ImageTower
from cocu.encoders.encoder import Pixels

__all__ = ["preprocess"]

_INTERPOLATION = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


# Beyond this ratio of sides only the centre is resized: the whole image could be millions of pixels long.
_LONGEST = 8


def preprocess(image: Image.Image, tower: ImageTower) -> Pixels:
    """Resize and crop an image as the bundle says, as open_clip's inference transform does.

    Returns uint8 [size, size, 3]: the shortest side is resized to `size` and the centre cropped, or both
    sides are resized. Memory is bounded by the image and 8 × size², even for an image of 1 × 60,000 pixels.
    """
    size = tower.size
    resample = _INTERPOLATION[tower.interpolation]
    if image.mode != "RGB":
        image = image.convert("RGB")
    if tower.resize == "squash":
        return np.asarray(image.resize((size, size), resample))
    shortest = min(image.size)
    # Truncated, as torchvision does.
    width, height = (int(size * side / shortest) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if max(width, height) <= _LONGEST * size:
        resized = image.resize((width, height), resample)
        return np.asarray(resized.crop((left, top, left + size, top + size)))
    across, down = image.width / width, image.height / height
    right = min((left + size) * across, image.width)
    bottom = min((top + size) * down, image.height)
    return np.asarray(image.resize((size, size), resample, box=(left * across, top * down, right, bottom)))
