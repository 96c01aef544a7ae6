"""Segmentation of whole images by sliding windows: resize, cut, segment, merge at the original size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cocu_training.evaluation.segmentation import SegmentedWindow, background_groups, segment
from cocu_training.model import GroupViT

# Mean and deviation of the pixels of ImageNet, in 0 … 1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# Elements of a resized tensor at a time; many classes on a large image would fill the memory.
RESIZED_AT_ONCE = 1 << 26


class Window(NamedTuple):
    """Pixels [top, bottom) × [left, right) of a resized image."""

    top: int
    left: int
    bottom: int
    right: int


class SegmentedImage(NamedTuple):
    """All windows of one image. size: rows and columns after resizing; original: before it."""

    windows: tuple[tuple[Window, SegmentedWindow], ...]
    size: tuple[int, int]
    original: tuple[int, int]


def resized_size(height: int, width: int, *, short_side: int, long_side: int) -> tuple[int, int]:
    """Return rows and columns of an image scaled so that no side exceeds its limit and one reaches it."""
    factor = min(long_side / max(height, width), short_side / min(height, width))
    return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))


def prepare(image_HW3: NDArray[np.uint8], size: tuple[int, int], device: torch.device) -> Tensor:
    """Resize and normalise an image, float32 [3, h, w].

    Bilinear without smoothing, rounded to 256 levels, as in the published evaluations.
    """
    pixels_13HW = torch.from_numpy(image_HW3).to(device).permute(2, 0, 1)[None].float()
    if size != image_HW3.shape[:2]:
        pixels_13HW = functional.interpolate(pixels_13HW, size, mode="bilinear", align_corners=False).round()
    mean_311 = torch.tensor(MEAN, device=device)[:, None, None]
    deviation_311 = torch.tensor(DEVIATION, device=device)[:, None, None]
    return (pixels_13HW[0] / 255 - mean_311) / deviation_311


def cut_windows(height: int, width: int, *, crop: int, stride: int) -> list[Window]:
    """Return windows row by row; windows beyond a border are shifted inside; a small image is one window."""
    return [
        Window(top, left, min(top + crop, height), min(left + crop, width))
        for top in _starts(height, crop, stride)
        for left in _starts(width, crop, stride)
    ]


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = math.ceil(max(length - crop, 0) / stride) + 1
    return [max(min(step * stride, length - crop), 0) for step in range(steps)]


def segment_images(
    model: GroupViT,
    images_HW3: Sequence[NDArray[np.uint8]],
    classes_CE: Tensor,
    *,
    short_side: int,
    long_side: int,
    crop: int,
    stride: int,
    most_classes: int = 5,
    windows_at_once: int = 16,
) -> list[SegmentedImage]:
    """Segment the windows of images; windows of one size go through the network together."""
    device = classes_CE.device
    sizes: list[tuple[int, int]] = []
    positions: list[tuple[int, Window]] = []
    by_shape: dict[tuple[int, ...], list[tuple[int, Tensor]]] = defaultdict(list)
    for number, image_HW3 in enumerate(images_HW3):
        height, width = image_HW3.shape[:2]
        sizes.append(resized_size(height, width, short_side=short_side, long_side=long_side))
        pixels_3HW = prepare(image_HW3, sizes[-1], device)
        for window in cut_windows(*sizes[-1], crop=crop, stride=stride):
            cut_3HW = pixels_3HW[:, window.top : window.bottom, window.left : window.right]
            by_shape[cut_3HW.shape[1:]].append((len(positions), cut_3HW))
            positions.append((number, window))
    segmented_windows: dict[int, SegmentedWindow] = {}
    for numbered in by_shape.values():
        for start in range(0, len(numbered), windows_at_once):
            part = numbered[start : start + windows_at_once]
            cut_B3HW = torch.stack([cut_3HW for _, cut_3HW in part])
            segmented = segment(model, cut_B3HW, classes_CE, most_classes=most_classes)
            segmented_windows.update(zip((position for position, _ in part), segmented, strict=True))
    windows: list[list[tuple[Window, SegmentedWindow]]] = [[] for _ in images_HW3]
    for position, (number, window) in enumerate(positions):
        windows[number].append((window, segmented_windows[position]))
    return [
        SegmentedImage(tuple(own), size, (image_HW3.shape[0], image_HW3.shape[1]))
        for own, size, image_HW3 in zip(windows, sizes, images_HW3, strict=True)
    ]


def predict(image: SegmentedImage, thresholds: Sequence[float] | None) -> Tensor:
    """Return labels int64 [T, H, W] of the original pixels, one map for each threshold; [1, H, W] for None.

    Logits are averaged where windows overlap and resized to the original size; the highest wins. With
    thresholds, label 0 is the background, which wins ties. The network does not run again for any number of
    thresholds.
    """
    best_HW, score_HW = _best_class(image)
    if thresholds is None:
        return best_HW[None]
    background_THW = _resized_background(image, thresholds)
    return torch.where(background_THW >= score_HW, 0, best_HW + 1)


def _best_class(image: SegmentedImage) -> tuple[Tensor, Tensor]:
    """Return the highest class of each original pixel and its logit, computed a few classes at a time."""
    first = image.windows[0][1].scores_GC
    at_once = max(1, RESIZED_AT_ONCE // math.prod(image.original))
    best_HW = torch.zeros(image.original, dtype=torch.int64, device=first.device)
    score_HW = torch.zeros(image.original, dtype=first.dtype, device=first.device)
    highest_C = torch.stack([segmented.scores_GC.amax(dim=0) for _, segmented in image.windows]).amax(dim=0)
    # Most classes are 0 in every window; 0 can win only for the first class, which is the default.
    candidates = highest_C.nonzero()[:, 0]
    for start in range(0, len(candidates), at_once):
        part_P = candidates[start : start + at_once]
        values = (
            (window, segmented.scores_GC[:, part_P].T, segmented.groups_HW)
            for window, segmented in image.windows
        )
        resized_PHW = _resize(_average(values, len(part_P), image.size, first), image.original)
        part_HW, which_HW = resized_PHW.max(dim=0)
        better_HW = part_HW > score_HW
        best_HW = torch.where(better_HW, part_P[which_HW], best_HW)
        score_HW = torch.where(better_HW, part_HW, score_HW)
    return best_HW, score_HW


def _resized_background(image: SegmentedImage, thresholds: Sequence[float]) -> Tensor:
    first = image.windows[0][1].scores_GC
    thresholds_T = torch.tensor(thresholds, dtype=first.dtype, device=first.device)
    values = (
        (window, background_groups(segmented.scores_GC, thresholds_T).to(first.dtype), segmented.groups_HW)
        for window, segmented in image.windows
    )
    return _resize(_average(values, len(thresholds), image.size, first), image.original)


def _average(
    values: Iterator[tuple[Window, Tensor, Tensor]], channels: int, size: tuple[int, int], reference: Tensor
) -> Tensor:
    """Map values [channels, G] of groups to pixels [channels, h, w], averaged where windows overlap."""
    total_KHW = reference.new_zeros((channels, *size))
    count_HW = reference.new_zeros(size)
    for window, values_KG, groups_HW in values:
        rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
        total_KHW[:, rows, columns] += values_KG[:, groups_HW.long()]
        count_HW[rows, columns] += 1
    return total_KHW / count_HW


def _resize(logits_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(logits_KHW.shape[1:]) == size:
        return logits_KHW
    return functional.interpolate(logits_KHW[None], size, mode="bilinear", align_corners=False)[0]
