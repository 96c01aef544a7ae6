"""From a decoded picture to the pixels an image tower takes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cocu.encoders.bundle import ImageTower
from cocu.encoders.encoder import Pixels

__all__ = ["preprocess"]

_INTERPOLATION = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


# Beyond this ratio of sides only the middle is resized: the whole could be millions of pixels long.
_LONGEST = 8


def preprocess(image: Image.Image, tower: ImageTower) -> Pixels:
    """Resize and crop a picture as the bundle says, as open_clip's inference transform does.

    Returns uint8 [size, size, 3]: the shortest side resized to `size`, then the centre cut out; or both sides
    resized. Memory is bounded by the picture and 8 × size², even for a picture of 1 × 60,000 pixels.
    """
    size = tower.size
    resample = _INTERPOLATION[tower.interpolation]
    if image.mode != "RGB":
        image = image.convert("RGB")
    if tower.resize == "squash":
        return np.asarray(image.resize((size, size), resample))
    shortest = min(image.size)
    # Truncated as torchvision does it.
    width, height = (int(size * side / shortest) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if max(width, height) <= _LONGEST * size:
        resized = image.resize((width, height), resample)
        return np.asarray(resized.crop((left, top, left + size, top + size)))
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return np.asarray(image.resize((size, size), resample, box=(*box[:2], *map(min, box[2:], image.size))))
