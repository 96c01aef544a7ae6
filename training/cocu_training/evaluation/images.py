"""Previews of predictions: labels over images, groups, and a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cocu_training.evaluation.class_names import BACKGROUND
from cocu_training.evaluation.scoring import IGNORED
from cocu_training.evaluation.sliding_window import SegmentedImage

PANEL_SIDE = 320
GAP = 12
TEXT_SIZE = 14
FIXED_COLOURS = 24
PAPER = (255, 255, 255)
INK = (24, 28, 36)
UNCOUNTED = (225, 225, 225)
NOTHING = (70, 74, 82)
_GOLDEN = 0.618033988749895


def colours(count: int) -> NDArray[np.uint8]:
    """Return colours uint8 [count, 3], deterministic and different for neighbours in the list."""
    rows = [
        colorsys.hsv_to_rgb(
            (0.02 + number * _GOLDEN) % 1, (0.85, 0.55, 0.75)[number % 3], (0.95, 0.8)[number % 2]
        )
        for number in range(count)
    ]
    return (np.array(rows).reshape(count, 3) * 255).round().astype(np.uint8)


def class_colours(names: Sequence[str], present: Sequence[int]) -> NDArray[np.uint8]:
    """Return a colour for each class, [C, 3]; dark grey for the background.

    A class has the same colour in every image. With so many classes that some look alike, the classes present
    in this image get distinct colours.
    """
    palette_C3 = colours(len(names))
    if len(names) > FIXED_COLOURS:
        palette_C3[list(present)] = colours(len(present))
    if names[0] == BACKGROUND:
        palette_C3[0] = NOTHING
    return palette_C3


def overlay(
    image_HW3: NDArray[np.uint8],
    labels_HW: NDArray[np.int64],
    palette_C3: NDArray[np.uint8],
    *,
    strength: float = 0.6,
) -> NDArray[np.uint8]:
    """Draw labels as colours over the grey image: uint8 [H, W, 3], light grey for pixels that do not
    count."""
    coloured_HW3 = np.where(
        (labels_HW == IGNORED)[..., None], np.uint8(UNCOUNTED[0]), palette_C3[np.maximum(labels_HW, 0)]
    )
    grey_HW1 = image_HW3.astype(np.float32).mean(axis=-1, keepdims=True)
    mixed_HW3: NDArray[np.float32] = (1 - strength) * grey_HW1 + strength * coloured_HW3.astype(np.float32)
    return mixed_HW3.round().astype(np.uint8)


def group_map(image: SegmentedImage) -> NDArray[np.int64]:
    """Return the group of each pixel of the resized image, int64 [h, w].

    Groups of different windows are unrelated, so each window has its own numbers. A pixel shows the window
    whose centre is nearest.
    """
    rows_h1, columns_1w = np.arange(image.size[0])[:, None] + 0.5, np.arange(image.size[1])[None, :] + 0.5
    groups_hw = np.zeros(image.size, np.int64)
    nearest_hw = np.full(image.size, np.inf)
    for number, (window, segmented) in enumerate(image.windows):
        middle = (window.top + window.bottom) / 2, (window.left + window.right) / 2
        distance_hw = np.hypot(rows_h1 - middle[0], columns_1w - middle[1])
        inside = slice(window.top, window.bottom), slice(window.left, window.right)
        closer = distance_hw[inside] < nearest_hw[inside]
        own_HW = segmented.groups_HW.cpu().numpy().astype(np.int64) + number * len(segmented.scores_GC)
        groups_hw[inside] = np.where(closer, own_HW, groups_hw[inside])
        nearest_hw[inside] = np.where(closer, distance_hw[inside], nearest_hw[inside])
    return groups_hw


def draw_preview(
    image_HW3: NDArray[np.uint8],
    labels_HW: NDArray[np.int64],
    predicted_HW: NDArray[np.int64],
    segmented: SegmentedImage,
    names: Sequence[str],
) -> Image.Image:
    """Draw image, true labels, predicted labels and groups, above a legend of their classes."""
    if labels_HW.shape != predicted_HW.shape:
        labels_HW = np.asarray(
            Image.fromarray(labels_HW.astype(np.int32)).resize(
                predicted_HW.shape[::-1], Image.Resampling.NEAREST
            )
        ).astype(np.int64)
    groups_hw = group_map(segmented)
    group_colours = colours(int(groups_hw.max()) + 1)
    present = sorted({*np.unique(labels_HW).tolist(), *np.unique(predicted_HW).tolist()} - {IGNORED})
    palette_C3 = class_colours(names, present)
    panels = {
        "image": image_HW3,
        "labels": overlay(image_HW3, labels_HW, palette_C3),
        "predicted": overlay(image_HW3, predicted_HW, palette_C3),
        "groups": group_colours[groups_hw],
    }
    legend = [(names[label].strip(), palette_C3[label]) for label in present]
    return _sheet(panels, image_HW3.shape[0] / image_HW3.shape[1], legend)


def _sheet(
    panels: dict[str, NDArray[np.uint8]], ratio: float, legend: Sequence[tuple[str, NDArray[np.uint8]]]
) -> Image.Image:
    width, height = (
        (PANEL_SIDE, round(PANEL_SIDE * ratio)) if ratio <= 1 else (round(PANEL_SIDE / ratio), PANEL_SIDE)
    )
    width, height = max(1, width), max(1, height)
    line = TEXT_SIZE + 6
    total_width = GAP + len(panels) * (width + GAP)
    font = ImageFont.load_default(size=TEXT_SIZE)
    positions, bottom = _legend_positions(legend, total_width, GAP + line + height + GAP, font)
    sheet = Image.new("RGB", (total_width, bottom + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (title, pixels_HW3) in enumerate(panels.items()):
        left = GAP + column * (width + GAP)
        draw.text((left, GAP), title, fill=INK, font=font)
        panel = Image.fromarray(pixels_HW3).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(panel, (left, GAP + line))
    for (name, colour), (left, top) in zip(legend, positions, strict=True):
        draw.rectangle(
            (left, top + 2, left + TEXT_SIZE, top + 2 + TEXT_SIZE), fill=tuple(int(part) for part in colour)
        )
        draw.text((left + TEXT_SIZE + 6, top), name, fill=INK, font=font)
    return sheet


def _legend_positions(
    legend: Sequence[tuple[str, NDArray[np.uint8]]],
    width: int,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> tuple[list[tuple[int, int]], int]:
    """Return the upper left corners of the entries, broken into lines, and the bottom of the last line."""
    positions, left, line = [], GAP, TEXT_SIZE + 8
    for name, _ in legend:
        needed = TEXT_SIZE + 6 + round(font.getlength(name))
        if left > GAP and left + needed > width - GAP:
            left, top = GAP, top + line
        positions.append((left, top))
        left += needed + 18
    return positions, top + line
