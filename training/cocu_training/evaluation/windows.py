"""Whole pictures through windows: resized, cut, segmented, put together again at the original size."""

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

from cocu_training.evaluation.segmentation import Segmented, background_groups, segment
from cocu_training.model import GroupViT

# Of pixels 0 … 1, as ImageNet's pictures have them.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# Elements of a resized tensor at once; many classes on a large picture would fill the memory.
RESIZED_AT_ONCE = 1 << 26


class Window(NamedTuple):
    """Pixels [top, bottom) × [left, right) of a resized picture."""

    top: int
    left: int
    bottom: int
    right: int


class SegmentedPicture(NamedTuple):
    """All windows of one picture. size: rows and columns of the resized picture; original: before that."""

    windows: tuple[tuple[Window, Segmented], ...]
    size: tuple[int, int]
    original: tuple[int, int]


def resized_size(height: int, width: int, *, short_side: int, long_side: int) -> tuple[int, int]:
    """Rows and columns of a picture scaled so that neither side exceeds its limit, and one meets it."""
    factor = min(long_side / max(height, width), short_side / min(height, width))
    return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))


def prepare(picture_HW3: NDArray[np.uint8], size: tuple[int, int], device: torch.device) -> Tensor:
    """A picture resized and normalised, float32 [3, h, w].

    Bilinear without smoothing, and rounded to 256 levels: that is how the published evaluations resize.
    """
    pixels_13HW = torch.from_numpy(picture_HW3).to(device).permute(2, 0, 1)[None].float()
    if size != picture_HW3.shape[:2]:
        pixels_13HW = functional.interpolate(pixels_13HW, size, mode="bilinear", align_corners=False).round()
    mean_311 = torch.tensor(MEAN, device=device)[:, None, None]
    deviation_311 = torch.tensor(DEVIATION, device=device)[:, None, None]
    return (pixels_13HW[0] / 255 - mean_311) / deviation_311


def cut_windows(height: int, width: int, *, crop: int, stride: int) -> list[Window]:
    """Windows row by row; one that would cross a border is shifted back inside, a small picture is one."""
    return [
        Window(top, left, min(top + crop, height), min(left + crop, width))
        for top in _starts(height, crop, stride)
        for left in _starts(width, crop, stride)
    ]


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = math.ceil(max(length - crop, 0) / stride) + 1
    return [max(min(step * stride, length - crop), 0) for step in range(steps)]


def segment_pictures(
    model: GroupViT,
    pictures_HW3: Sequence[NDArray[np.uint8]],
    classes_CE: Tensor,
    *,
    short_side: int,
    long_side: int,
    crop: int,
    stride: int,
    most_classes: int = 5,
    windows_at_once: int = 16,
) -> list[SegmentedPicture]:
    """Pictures → their windows, segmented; windows of one size go through the network together."""
    device = classes_CE.device
    sizes: list[tuple[int, int]] = []
    places: list[tuple[int, Window]] = []
    by_shape: dict[tuple[int, ...], list[tuple[int, Tensor]]] = defaultdict(list)
    for number, picture_HW3 in enumerate(pictures_HW3):
        height, width = picture_HW3.shape[:2]
        sizes.append(resized_size(height, width, short_side=short_side, long_side=long_side))
        pixels_3HW = prepare(picture_HW3, sizes[-1], device)
        for window in cut_windows(*sizes[-1], crop=crop, stride=stride):
            cut_3HW = pixels_3HW[:, window.top : window.bottom, window.left : window.right]
            by_shape[cut_3HW.shape[1:]].append((len(places), cut_3HW))
            places.append((number, window))
    answers: dict[int, Segmented] = {}
    for numbered in by_shape.values():
        for start in range(0, len(numbered), windows_at_once):
            part = numbered[start : start + windows_at_once]
            cut_B3HW = torch.stack([cut_3HW for _, cut_3HW in part])
            segmented = segment(model, cut_B3HW, classes_CE, most_classes=most_classes)
            answers.update(zip((place for place, _ in part), segmented, strict=True))
    windows: list[list[tuple[Window, Segmented]]] = [[] for _ in pictures_HW3]
    for place, (number, window) in enumerate(places):
        windows[number].append((window, answers[place]))
    return [
        SegmentedPicture(tuple(own), size, (picture_HW3.shape[0], picture_HW3.shape[1]))
        for own, size, picture_HW3 in zip(windows, sizes, pictures_HW3, strict=True)
    ]


def predict(picture: SegmentedPicture, thresholds: Sequence[float] | None) -> Tensor:
    """Labels int64 [T, H, W] of the original pixels, one map for each threshold; [1, H, W] for None.

    Logits are averaged where windows overlap, resized to the original size, and the highest wins; the
    background is label 0 where there are thresholds, and wins where it is as high. The network is not asked
    again, however many thresholds there are.
    """
    best_HW, score_HW = _best_class(picture)
    if thresholds is None:
        return best_HW[None]
    background_THW = _resized_background(picture, thresholds)
    return torch.where(background_THW >= score_HW, 0, best_HW + 1)


def _best_class(picture: SegmentedPicture) -> tuple[Tensor, Tensor]:
    """The highest class of each original pixel and its logit; a few classes at a time."""
    first = picture.windows[0][1].scores_GC
    at_once = max(1, RESIZED_AT_ONCE // math.prod(picture.original))
    best_HW = torch.zeros(picture.original, dtype=torch.int64, device=first.device)
    score_HW = torch.zeros(picture.original, dtype=first.dtype, device=first.device)
    highest_C = torch.stack([each.scores_GC.amax(dim=0) for _, each in picture.windows]).amax(dim=0)
    # Most classes are 0 in every window, and 0 wins nowhere but for the first class.
    wanted = highest_C.nonzero()[:, 0]
    for start in range(0, len(wanted), at_once):
        part_P = wanted[start : start + at_once]
        values = ((window, each.scores_GC[:, part_P].T, each.groups_HW) for window, each in picture.windows)
        resized_PHW = _resize(_average(values, len(part_P), picture.size, first), picture.original)
        part_HW, which_HW = resized_PHW.max(dim=0)
        better_HW = part_HW > score_HW
        best_HW = torch.where(better_HW, part_P[which_HW], best_HW)
        score_HW = torch.where(better_HW, part_HW, score_HW)
    return best_HW, score_HW


def _resized_background(picture: SegmentedPicture, thresholds: Sequence[float]) -> Tensor:
    first = picture.windows[0][1].scores_GC
    thresholds_T = torch.tensor(thresholds, dtype=first.dtype, device=first.device)
    values = (
        (window, background_groups(each.scores_GC, thresholds_T).to(first.dtype), each.groups_HW)
        for window, each in picture.windows
    )
    return _resize(_average(values, len(thresholds), picture.size, first), picture.original)


def _average(
    values: Iterator[tuple[Window, Tensor, Tensor]], channels: int, size: tuple[int, int], like: Tensor
) -> Tensor:
    """Values [channels, G] of groups → [channels, h, w], averaged where windows overlap."""
    total_KHW = like.new_zeros((channels, *size))
    count_HW = like.new_zeros(size)
    for window, values_KG, groups_HW in values:
        rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
        total_KHW[:, rows, columns] += values_KG[:, groups_HW.long()]
        count_HW[rows, columns] += 1
    return total_KHW / count_HW


def _resize(logits_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(logits_KHW.shape[1:]) == size:
        return logits_KHW
    return functional.interpolate(logits_KHW[None], size, mode="bilinear", align_corners=False)[0]
