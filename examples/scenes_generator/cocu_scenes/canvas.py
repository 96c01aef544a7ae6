"""A canvas that draws at twice the size for smooth edges and keeps the mask of what it drew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cocu_scenes.concepts import backgrounds

IMAGE_SIZE = 128
_OVERSAMPLING = 2
_CANVAS_SIZE = IMAGE_SIZE * _OVERSAMPLING

Colour = tuple[int, int, int]
Point = tuple[float, float]

BACKGROUND_VALUES = {background.name: value for value, background in enumerate(backgrounds())}
# Strength of even grain and of horizontal streaks on each background, in grey levels.
_TEXTURES = {
    "sky": (0.0, 2.0),
    "meadow": (7.0, 4.0),
    "beach": (6.0, 3.0),
    "sea": (2.0, 9.0),
    "snow": (3.0, 3.0),
    "desert": (4.0, 5.0),
    "road": (6.0, 2.0),
    "forest": (7.0, 0.0),
    "mountain": (7.0, 3.0),
    "city": (3.0, 0.0),
    "room": (2.0, 1.0),
}
_TEXTURE_STRENGTHS = np.array([_TEXTURES[background.name] for background in backgrounds()], dtype=np.float32)


def jitter(rng: np.random.Generator, colour: Colour, amount: int) -> Colour:
    """The colour, brighter or darker as a whole and a little in each channel."""
    shift = rng.integers(-amount, amount + 1) + rng.integers(-amount // 3, amount // 3 + 1, size=3)
    red, green, blue = (int(min(255, max(0, value))) for value in np.asarray(colour) + shift)
    return red, green, blue


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """`part` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue


def ridge(rng: np.random.Generator, height: float, roughness: float, waves: int = 3) -> list[Point]:
    """A line of hills across the image: points (x, y) in parts of the side, around y = height."""
    x_P = np.linspace(-0.02, 1.02, 33)
    phases_W, turns_W = (
        rng.uniform(0, 2 * np.pi, waves),
        rng.uniform(0.5, 1.2, waves) * np.arange(1, waves + 1),
    )
    waves_WP = (
        np.sin(2 * np.pi * turns_W[:, None] * x_P + phases_W[:, None]) / np.arange(1, waves + 1)[:, None]
    )
    return list(zip(x_P.tolist(), (height + roughness * waves_WP.sum(axis=0)).tolist(), strict=True))


@cache
def _noise_banks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grain and streaks, each [2 S, 2 S] of about unit deviation, from which images cut a random window."""
    rng = np.random.default_rng(20230919)
    side = 2 * IMAGE_SIZE

    def layer(height: int, width: int) -> NDArray[np.float32]:
        coarse = Image.fromarray(rng.standard_normal((height, width)).astype(np.float32))
        return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)

    grain = 0.8 * layer(side, side) + 0.6 * layer(side // 4, side // 4) + 0.6 * layer(side // 16, side // 16)
    streaks = 0.8 * layer(side // 2, side // 16) + 0.6 * layer(side // 5, side // 32)
    return grain / grain.std(), streaks / streaks.std()


class Canvas:
    """Coordinates are parts of the side, from the upper left; a `label` also fills the mask."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (_CANVAS_SIZE, _CANVAS_SIZE))
        self._mask = Image.new("L", (IMAGE_SIZE, IMAGE_SIZE))
        self._draw = ImageDraw.Draw(self._image)
        self._draw_mask = ImageDraw.Draw(self._mask)

    def gradient(self, top: Colour, bottom: Colour, *, end: float = 1.0, label: str) -> None:
        """Fill from the upper edge down to `end`, colour running from top to bottom."""
        height = max(1, round(end * _CANVAS_SIZE))
        self._image.paste(
            _column(top, bottom, height).resize((_CANVAS_SIZE, height), Image.Resampling.NEAREST), (0, 0)
        )
        self._draw_mask.rectangle((0, 0, IMAGE_SIZE, end * IMAGE_SIZE), fill=BACKGROUND_VALUES[label])

    def below(self, line: Sequence[Point], top: Colour, bottom: Colour, *, label: str | None = None) -> None:
        """Fill all that is under a line across the image, colour running down from its highest point."""
        self.shaded([*line, (1.02, 1.02), (-0.02, 1.02)], top, bottom, label=label)

    def shaded(
        self, points: Sequence[Point], top: Colour, bottom: Colour, *, label: str | None = None
    ) -> None:
        """Fill a polygon, colour running from its highest to its lowest point."""
        first = max(0, int(min(y for _, y in points) * _CANVAS_SIZE))
        last = min(_CANVAS_SIZE, int(max(y for _, y in points) * _CANVAS_SIZE) + 1)
        if last <= first:
            return
        stencil = Image.new("L", (_CANVAS_SIZE, last - first))
        shifted = [(x * _CANVAS_SIZE, y * _CANVAS_SIZE - first) for x, y in points]
        ImageDraw.Draw(stencil).polygon(shifted, fill=255)
        shading = _column(top, bottom, last - first).resize(
            (_CANVAS_SIZE, last - first), Image.Resampling.NEAREST
        )
        self._image.paste(shading, (0, first), stencil)
        if label is not None:
            self._draw_mask.polygon(_scaled(points, IMAGE_SIZE), fill=BACKGROUND_VALUES[label])

    def polygon(self, points: Sequence[Point], colour: Colour, *, label: str | None = None) -> None:
        """Fill a polygon."""
        self._draw.polygon(_scaled(points, _CANVAS_SIZE), fill=colour)
        if label is not None:
            self._draw_mask.polygon(_scaled(points, IMAGE_SIZE), fill=BACKGROUND_VALUES[label])

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: Colour,
        *,
        label: str | None = None,
    ) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, label=label)

    def disc(
        self,
        x: float,
        y: float,
        radius_x: float,
        radius_y: float,
        colour: Colour,
        *,
        label: str | None = None,
    ) -> None:
        """Fill an ellipse around (x, y)."""
        corners = (x - radius_x, y - radius_y), (x + radius_x, y + radius_y)
        self._draw.ellipse(_scaled(corners, _CANVAS_SIZE), fill=colour)
        if label is not None:
            self._draw_mask.ellipse(_scaled(corners, IMAGE_SIZE), fill=BACKGROUND_VALUES[label])

    def line(self, points: Sequence[Point], colour: Colour, *, width: float) -> None:
        """Draw a line; width in parts of the side."""
        self._draw.line(
            _scaled(points, _CANVAS_SIZE),
            fill=colour,
            width=max(1, round(width * _CANVAS_SIZE)),
            joint="curve",
        )

    def finish(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The image float32 [S, S, 3], each pixel textured as what it shows, and the mask uint8 [S, S]."""
        image_SSC = np.asarray(self._image.reduce(_OVERSAMPLING), dtype=np.float32)
        mask_SS = np.array(self._mask)
        grain, streaks = _noise_banks()
        (top, left), (top_too, left_too) = rng.integers(0, IMAGE_SIZE, size=(2, 2)).tolist()
        strengths_SS2 = _TEXTURE_STRENGTHS[mask_SS]
        texture_SS = strengths_SS2[..., 0] * grain[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
        texture_SS += (
            strengths_SS2[..., 1] * streaks[top_too : top_too + IMAGE_SIZE, left_too : left_too + IMAGE_SIZE]
        )
        return image_SSC + texture_SS[..., None], mask_SS


def _column(top: Colour, bottom: Colour, height: int) -> Image.Image:
    part_H1 = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    colours_H3 = (
        np.asarray(top, dtype=np.float32) * (1 - part_H1) + np.asarray(bottom, dtype=np.float32) * part_H1
    )
    return Image.fromarray(colours_H3.astype(np.uint8)[:, None])


def _scaled(points: Sequence[Point], side: int) -> list[Point]:
    return [(x * side, y * side) for x, y in points]
