"""Training data on disk: generated images at the encoder's size, each with an incomplete caption."""

from __future__ import annotations

import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cocu_scenes

IMAGE_SIZE = 96
# The committed scenes have seed 0; held-out ones for measurement have 1.
TRAINING_SEED = 100
_CHUNK = 500


@dataclass(frozen=True)
class Pairs:
    """Images uint8 [N, S, S, 3] (memory-mapped) and N captions."""

    images: NDArray[np.uint8]
    captions: list[str]


def pixels(image: Image.Image, *, quality: int | None = None) -> NDArray[np.uint8]:
    """Resize a square image to the encoder's size, uint8 [S, S, 3]; with `quality`, after JPEG
    compression."""
    if quality is not None:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def _chunk(seed: int, start: int, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    images: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    for scene in cocu_scenes.generate(seed, start, count):
        images.append(pixels(scene.image, quality=75 + (start + len(images)) % 20))
        captions.append(scene.caption)
    return np.stack(images), captions


def prepare(folder: Path, *, count: int, seed: int = TRAINING_SEED, processes: int = 2) -> Pairs:
    """Generate `count` pairs into a folder, or open them if it already holds as many."""
    captions_path, images_path = folder / "captions.json", folder / "images.npy"
    if captions_path.exists() and len(captions := json.loads(captions_path.read_text())) >= count:
        return Pairs(np.load(images_path, mmap_mode="r")[:count], captions[:count])
    folder.mkdir(parents=True, exist_ok=True)
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    images_NSSC = np.lib.format.open_memmap(images_path, mode="w+", dtype=np.uint8, shape=shape)
    captions = []
    starts = list(range(0, count, _CHUNK))
    with ProcessPoolExecutor(processes) as pool:
        counts = [min(_CHUNK, count - start) for start in starts]
        for start, (images, texts) in zip(
            starts, pool.map(_chunk, [seed] * len(starts), starts, counts), strict=True
        ):
            images_NSSC[start : start + len(images)] = images
            captions.extend(texts)
    images_NSSC.flush()
    captions_path.write_text(json.dumps(captions))
    return Pairs(np.load(images_path, mmap_mode="r"), captions)


def main() -> None:
    """Generate the training pairs into a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=120_000)
    arguments = parser.parse_args()
    print(len(prepare(arguments.folder, count=arguments.count).captions), "pairs")


if __name__ == "__main__":
    main()
