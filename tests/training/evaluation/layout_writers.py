"""Tiny datasets written in the layouts in which benchmarks are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = dict[str, NDArray[np.int64]]


def image(size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse_HW3 = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse_HW3).resize(size[::-1], Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def save_image(path: Path, size: tuple[int, int], seed: int) -> None:
    save(image(size, seed), path)


def save_levels(path: Path, levels_HW: NDArray[np.int64], *, palette: bool = False) -> None:
    image = Image.fromarray(levels_HW.astype(np.uint8))
    if palette:
        image = image.convert("P")
        image.putpalette([(37 * value) % 256 for value in range(768)])
        image.putdata(levels_HW.flatten().tolist())
    save(image, path)


def rectangles(values: list[int], size: tuple[int, int]) -> NDArray[np.int64]:
    """Stripes of values from left to right."""
    edges = np.linspace(0, size[1], len(values) + 1).round().astype(int)
    levels_HW = np.zeros(size, np.int64)
    for value, (left, right) in zip(values, pairwise(edges), strict=True):
        levels_HW[:, left:right] = value
    return levels_HW


SIZES = {"first": (48, 64), "second": (70, 40), "third": (32, 32)}


def write_pascal(folder: Path, *, context: bool) -> Labels:
    lists, masks = (
        ("SegmentationContext", "SegmentationClassContext")
        if context
        else ("Segmentation", "SegmentationClass")
    )
    values = {"first": [0, 15, 255, 20], "second": [0, 7], "third": [12]}
    if context:
        values = {"first": [0, 59, 1, 31], "second": [40, 7], "third": [0]}
    labels = {}
    for seed, (key, size) in enumerate(SIZES.items()):
        levels_HW = rectangles(values[key], size)
        save_image(folder / "JPEGImages" / f"{key}.jpg", size, seed)
        save_levels(folder / masks / f"{key}.png", levels_HW, palette=not context)
        labels[key] = np.where(levels_HW == 255, -1, levels_HW)
    (folder / "ImageSets" / lists).mkdir(parents=True)
    (folder / "ImageSets" / lists / "val.txt").write_text("".join(f"{key}\n" for key in SIZES))
    (folder / "ImageSets" / lists / "train.txt").write_text("third\n")
    return labels


COCO_VALUES = {"first": [0, 79, 80, 255], "second": [170, 24], "third": [5]}


def write_coco(folder: Path, *, form: str) -> tuple[Labels, Labels]:
    """Labels as objects and as stuff; form: "_instanceTrainIds", "_labelTrainIds" or "", as published."""
    objects, stuff = {}, {}
    # Ids less one of the labels 0, 79, 80, 170, 24, 5: eleven ids in between name nothing.
    published = {0: 0, 79: 89, 80: 91, 170: 181, 24: 26, 5: 5, 255: 255}
    for seed, (key, size) in enumerate(SIZES.items()):
        values = COCO_VALUES[key]
        trained_HW = rectangles(values, size)
        stuff[key] = np.where(trained_HW == 255, -1, trained_HW)
        objects[key] = np.where(trained_HW < 80, trained_HW + 1, 0)
        written_HW = {
            "_instanceTrainIds": objects[key],
            "_labelTrainIds": trained_HW,
            "": rectangles([published[value] for value in values], size),
        }[form]
        save_image(folder / "images" / "val2017" / f"{key}.jpg", size, seed)
        save_levels(folder / "annotations" / "val2017" / f"{key}{form}.png", written_HW)
    return objects, stuff


def write_ade20k(folder: Path) -> Labels:
    labels = {}
    values = {"first": [0, 1, 150], "second": [8, 21], "third": [0]}
    for seed, (key, size) in enumerate(SIZES.items()):
        levels_HW = rectangles(values[key], size)
        save_image(folder / "images" / "validation" / f"{key}.jpg", size, seed)
        save_levels(folder / "annotations" / "validation" / f"{key}.png", levels_HW)
        labels[key] = levels_HW - 1
    return labels


def write_cityscapes(folder: Path) -> Labels:
    labels = {}
    values = {"first": [0, 18, 255], "second": [10, 8], "third": [13]}
    for seed, (key, size) in enumerate(SIZES.items()):
        town = "ulm" if key == "first" else "bonn"
        levels_HW = rectangles(values[key], size)
        save_image(folder / "leftImg8bit" / "val" / town / f"{key}_leftImg8bit.png", size, seed)
        save_levels(folder / "gtFine" / "val" / town / f"{key}_gtFine_labelTrainIds.png", levels_HW)
        labels[key] = np.where(levels_HW == 255, -1, levels_HW)
    return labels


def write_imagenet_s(folder: Path, values: dict[str, list[int]] | None = None) -> Labels:
    """Red + 256 × green; the mask of `second` is twice as large as its image."""
    labels = {}
    values = values or {"first": [0, 300, 1000], "second": [256, 12], "third": [1]}
    for seed, (key, size) in enumerate(SIZES.items()):
        scale = 2 if key == "second" else 1
        levels_HW = rectangles(values[key], (size[0] * scale, size[1] * scale))
        colours_HW3 = np.stack([levels_HW % 256, levels_HW // 256, np.zeros_like(levels_HW)], axis=-1)
        synset = f"n0{seed}"
        save_image(folder / "validation" / synset / f"{key}.JPEG", size, seed)
        mask = Image.fromarray(colours_HW3.astype(np.uint8))
        save(mask, folder / "validation-segmentation" / synset / f"{key}.png")
        labels[key] = np.where(levels_HW == 1000, -1, levels_HW)
    return labels


def write_folder(folder: Path, *, names: list[str], values: dict[str, list[int]] | None = None) -> Labels:
    labels = {}
    values = values or {"first": [0, 2, 255], "second": [1, 3], "third": [2]}
    for seed, (key, size) in enumerate(SIZES.items()):
        levels_HW = rectangles(values[key], size)
        save_image(folder / "pictures" / f"{key}.png", size, seed)
        save_levels(folder / "masks" / f"{key}.png", levels_HW)
        labels[key] = np.where(levels_HW == 255, -1, levels_HW)
    (folder / "classes.json").write_text(json.dumps({"names": names, "version": "mine-3"}))
    return labels


LAYOUT_WRITERS: dict[str, Callable[[Path], Labels]] = {
    "voc": lambda folder: write_pascal(folder, context=False),
    "context": lambda folder: write_pascal(folder, context=True),
    "coco_object": lambda folder: write_coco(folder, form="_instanceTrainIds")[0],
    "coco_stuff": lambda folder: write_coco(folder, form="_labelTrainIds")[1],
    "ade20k": write_ade20k,
    "cityscapes": write_cityscapes,
    "imagenet_s": write_imagenet_s,
    "folder": lambda folder: write_folder(folder, names=["background", "dog", "cat", "red car"]),
}
