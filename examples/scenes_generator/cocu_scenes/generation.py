"""Generation of scene i of a seed: choose, draw, place, light, describe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cocu_scenes.canvas import BACKGROUND_VALUES, IMAGE_SIZE
from cocu_scenes.captions import choose_named, write_caption
from cocu_scenes.concepts import objects
from cocu_scenes.placement import (
    MIN_THINGS,
    Cutout,
    choose_theme,
    choose_things,
    owners,
    place_things,
    visible_parts,
)
from cocu_scenes.surroundings import draw_setting
from cocu_scenes.truth import MASK_VALUES_OF_BACKGROUNDS, Placed, Scene

_LIGHTS = {"day": 0.56, "overcast": 0.14, "dusk": 0.17, "night": 0.13}
# Gain of red, green and blue, by light; indoors only half of it reaches the room.
_GAINS = {
    "day": (1.02, 1.01, 0.98),
    "overcast": (0.93, 0.95, 0.98),
    "dusk": (1.02, 0.86, 0.76),
    "night": (0.66, 0.72, 0.92),
}
_FAST_NOISE_SIDE = 512


def generate(seed: int, start: int, count: int) -> Iterator[Scene]:
    """Yield scenes start … start + count - 1 of a seed, in order.

    Raises:
        ValueError: seed, start or count is negative.
    """
    if min(seed, start, count) < 0:
        raise ValueError(f"seed, start and count must not be negative, got {seed}, {start}, {count}")
    return (generate_scene(seed, index) for index in range(start, start + count))


def generate_scene(seed: int, index: int) -> Scene:
    """Generate scene `index` of a seed: a pure function of both."""
    rng = np.random.default_rng([seed, index])
    theme, kind = choose_theme(rng)
    light = str(rng.choice(list(_LIGHTS), p=list(_LIGHTS.values())))
    setting = draw_setting(rng, kind, light)
    cutouts: list[Cutout] = []
    while len({cutout.concept for cutout in cutouts}) < MIN_THINGS:
        cutouts = place_things(rng, choose_things(rng, theme, kind), setting.horizon)
    image = _light(rng, _compose(setting.image, cutouts), light, indoors=kind == "room")
    owner_SS = owners(cutouts)
    mask_SS = _mask(setting.mask, owner_SS, cutouts)
    placed = _placed(owner_SS, cutouts)
    background = kind if bool((mask_SS == BACKGROUND_VALUES[kind]).any()) else None
    caption, named = write_caption(rng, choose_named(rng, placed, IMAGE_SIZE), placed, background)
    return Scene(
        key=f"{seed:04d}-{index:07d}",
        image=image,
        caption=caption,
        named=named,
        mask=mask_SS,
        placed=placed,
        kind=kind,
        theme=theme.name,
        light=light,
    )


def _compose(image_SSC: NDArray[np.float32], cutouts: list[Cutout]) -> Image.Image:
    image = Image.fromarray(np.clip(image_SSC, 0, 255).astype(np.uint8))
    for cutout in cutouts:
        if cutout.shadow:
            width, height = round(0.9 * cutout.sprite.width), max(4, round(0.2 * cutout.sprite.height))
            shadow = _shadow().resize((width, height), Image.Resampling.BILINEAR)
            corner = (cutout.left + (cutout.sprite.width - width) // 2, cutout.foot - round(0.65 * height))
            image.paste((24, 24, 34), corner, shadow)
        image.paste(cutout.sprite, (cutout.left, cutout.top), cutout.sprite)
    return image


def _mask(
    background_SS: NDArray[np.uint8], owner_SS: NDArray[np.int16], cutouts: list[Cutout]
) -> NDArray[np.uint8]:
    values_T = np.array([MASK_VALUES_OF_BACKGROUNDS + cutout.concept for cutout in cutouts], dtype=np.uint8)
    return np.where(owner_SS >= 0, values_T[owner_SS], background_SS)


def _placed(owner_SS: NDArray[np.int16], cutouts: list[Cutout]) -> tuple[Placed, ...]:
    placed = []
    for position, (cutout, visible) in enumerate(zip(cutouts, visible_parts(cutouts).tolist(), strict=True)):
        pixels_SS = owner_SS == position
        columns, rows = (
            np.flatnonzero(pixels_SS.any(axis=0)).tolist(),
            np.flatnonzero(pixels_SS.any(axis=1)).tolist(),
        )
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        placed.append(Placed(name=objects()[cutout.concept].name, box=box, visible=visible))
    return tuple(placed)


def _light(rng: np.random.Generator, image: Image.Image, light: str, *, indoors: bool) -> Image.Image:
    """Apply the light: colour cast, brightness, contrast, grain and, at times, a soft lens."""
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.7))))
    gains_C: NDArray[np.floating] = np.array(_GAINS[light], dtype=np.float32)
    if indoors:
        gains_C = (gains_C + 1.0) / 2
    gains_C = (
        gains_C * rng.uniform(0.93, 1.07, size=3).astype(np.float32) * np.float32(rng.uniform(0.9, 1.08))
    )
    contrast = np.float32(rng.uniform(0.85, 1.1))
    levels_SSC = np.asarray(image, dtype=np.float32)
    levels_SSC = ((levels_SSC - 128) * contrast + 128) * gains_C
    top, left = rng.integers(0, _FAST_NOISE_SIDE - IMAGE_SIZE, size=2).tolist()
    grain_SS1 = _grain()[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE, None]
    levels_SSC += np.float32(rng.uniform(0.0, 3.5)) * grain_SS1
    return Image.fromarray(np.clip(levels_SSC, 0, 255).astype(np.uint8))


@cache
def _grain() -> NDArray[np.float32]:
    return (
        np.random.default_rng(20231207)
        .standard_normal((_FAST_NOISE_SIDE, _FAST_NOISE_SIDE))
        .astype(np.float32)
    )


@cache
def _shadow() -> Image.Image:
    """A soft disc, the shadow of things on the ground; L."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return Image.fromarray((110 * np.clip(1.0 - (x**2 + y**2), 0, 1)).astype(np.uint8))
