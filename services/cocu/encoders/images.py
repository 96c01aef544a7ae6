"""From a decoded picture to the pixels an image tower takes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cocu.encoders.bundle import ImageTower
from cocu.encoders.encoder import Pixels

__all__ = ["preprocess"]

_INTERPOLATION = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def preprocess(image: Image.Image, tower: ImageTower) -> Pixels:
    """Resize and crop a picture as the bundle says, as open_clip's inference transform does.

    Returns uint8 [size, size, 3]. Only what the crop keeps is ever resized, so memory is bounded by the
    picture and the result even for a picture of 1 × 60,000 pixels. Agrees with resizing the whole picture,
    then cropping, but for rounding of the filter's weights (at most 1 of 255).
    """
    size = tower.size
    resample = _INTERPOLATION[tower.interpolation]
    if image.mode != "RGB":
        image = image.convert("RGB")
    box = (0.0, 0.0, float(image.width), float(image.height))
    if tower.resize == "shortest_side":
        box = _centre_box(image.width, image.height, size)
    return np.asarray(image.resize((size, size), resample, box=box))


def _centre_box(width: int, height: int, size: int) -> tuple[float, float, float, float]:
    """The part of the source that lands in the centre crop once the shortest side is `size` pixels long."""
    shortest = min(width, height)
    # Truncated as torchvision does: the long side is a whole number of pixels before the crop.
    resized_width, resized_height = int(size * width / shortest), int(size * height / shortest)
    across, down = width / resized_width, height / resized_height
    left, top = round((resized_width - size) / 2), round((resized_height - size) / 2)
    right, bottom = min((left + size) * across, width), min((top + size) * down, height)
    return left * across, top * down, right, bottom
