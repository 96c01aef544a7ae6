"""Placement of things: which things a scene shows, where they stand, and how much of each is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu_scenes.canvas import IMAGE_SIZE
from cocu_scenes.concepts import SceneObject, Theme, object_ids, objects, themes
from cocu_scenes.sprites import SPRITE_SIZE, sprites

# A thing of which a smaller part is visible is removed from the image, so that the truth is complete.
MIN_VISIBLE = 0.35
MIN_THINGS, MAX_THINGS = 3, 7

_KINDS_CHANCES = {3: 0.22, 4: 0.3, 5: 0.25, 6: 0.15, 7: 0.08}
_FROM_THEME, _FROM_SCENE = 0.68, 0.16
_REPEATED = 0.14
# Longer side of a thing in pixels, before perspective.
_SIDES = {"small": (26, 38), "medium": (34, 50), "large": (42, 62)}
_TURNS = {"ground": 9.0, "water": 12.0, "air": 22.0}


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """A thing ready to be pasted: RGBA sprite, upper left corner, and its concept's position in `objects()`.

    `alpha` is the sprite's alpha as uint8 [H, W]; `shadow` says whether it stands on the ground.
    """

    concept: int
    sprite: Image.Image
    left: int
    top: int
    alpha: NDArray[np.uint8]
    shadow: bool

    @property
    def foot(self) -> int:
        """Row of its lower edge."""
        return self.top + self.sprite.height


def choose_theme(rng: np.random.Generator) -> tuple[Theme, str]:
    """Draw a theme and one of its backgrounds, with equal probability."""
    theme = themes()[rng.integers(len(themes()))]
    return theme, theme.scenes[rng.integers(len(theme.scenes))]


def choose_things(rng: np.random.Generator, theme: Theme, kind: str) -> list[int]:
    """Draw the concepts of the things to place: most from the theme, some that suit the background, some
    others.

    Guarantees: MIN_THINGS to MAX_THINGS things, at least MIN_THINGS of them different.
    """
    ids = object_ids()
    of_theme = [ids[name] for name in theme.objects]
    of_scene = sorted({ids[name] for other in themes() if kind in other.scenes for name in other.objects})
    count = int(rng.choice(list(_KINDS_CHANCES), p=list(_KINDS_CHANCES.values())))
    chosen: list[int] = []
    while len(chosen) < count:
        source = rng.random()
        pool = of_theme if source < _FROM_THEME else of_scene if source < _FROM_THEME + _FROM_SCENE else None
        concept = pool[rng.integers(len(pool))] if pool else int(rng.integers(len(ids)))
        if concept not in chosen:
            chosen.append(concept)
    for concept in list(chosen):
        while len(chosen) < MAX_THINGS and rng.random() < _REPEATED:
            chosen.append(concept)
    return chosen


def place_things(rng: np.random.Generator, concepts: list[int], horizon: float) -> list[Cutout]:
    """Draw size, rotation, colour and position of every thing; return far things first, as they are painted.

    Guarantees: at least MIN_VISIBLE of each thing returned is inside the image and not covered. Things that
    would be hidden more are left out.
    """
    occupied_SS = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    cutouts = []
    for concept in concepts:
        cutout = _place(rng, concept, horizon, occupied_SS)
        top, left = max(0, cutout.top), max(0, cutout.left)
        occupied_SS[top : cutout.foot, left : cutout.left + cutout.sprite.width] = 1
        cutouts.append(cutout)
    cutouts.sort(key=lambda cutout: cutout.foot)
    while cutouts:
        visible_T = visible_parts(cutouts)
        worst = int(visible_T.argmin())
        if visible_T[worst] >= MIN_VISIBLE:
            break
        del cutouts[worst]
    return cutouts


def owners(cutouts: list[Cutout]) -> NDArray[np.int16]:
    """Return for every pixel the index of the visible thing, -1 for background; int16 [S, S]."""
    owner_SS = np.full((IMAGE_SIZE, IMAGE_SIZE), -1, dtype=np.int16)
    for position, cutout in enumerate(cutouts):
        window, opaque = _opaque(cutout)
        owner_SS[window][opaque] = position
    return owner_SS


def visible_parts(cutouts: list[Cutout]) -> NDArray[np.float64]:
    """Return the part of each thing that is inside the image and not covered by later ones; float64 [T]."""
    visible_T = np.bincount(owners(cutouts).ravel() + 1, minlength=len(cutouts) + 1)[1:]
    total_T = [np.count_nonzero(cutout.alpha >= 128) for cutout in cutouts]
    return visible_T / np.maximum(1, total_T)


def _place(rng: np.random.Generator, concept: int, horizon: float, occupied_SS: NDArray[np.uint8]) -> Cutout:
    thing = objects()[concept]
    flies = thing.place == "air" or horizon >= 1.0
    # The best of a few positions: things mostly stand apart, and overlap in crowded scenes.
    best, lowest_overlap = (0.5, 0.8), np.inf
    for x, depth in rng.uniform((0.1, 0.0), (0.9, 1.0), size=(int(rng.integers(3, 11)), 2)).tolist():
        if flies:
            y = 0.08 + depth * (0.8 if horizon >= 1.0 else horizon - 0.08)
        else:
            y = horizon + 0.08 + depth * (0.98 - horizon - 0.08)
        row, column = int(y * IMAGE_SIZE), int(x * IMAGE_SIZE)
        top = row - 20 if flies else row - 36
        overlap = int(occupied_SS[max(0, top) : max(0, top) + 40, max(0, column - 20) : column + 20].sum())
        if overlap < lowest_overlap:
            best, lowest_overlap = (x, y), overlap
    x, y = best
    perspective = 1.0 if flies else 0.8 + 0.35 * (y - horizon) / max(0.1, 1 - horizon)
    sprite = _dress(rng, thing, concept, perspective)
    return Cutout(
        concept=concept,
        sprite=sprite,
        left=round(x * IMAGE_SIZE - sprite.width / 2),
        top=round(y * IMAGE_SIZE - (sprite.height / 2 if flies else sprite.height)),
        alpha=np.asarray(sprite.getchannel("A")),
        shadow=not flies,
    )


def _dress(rng: np.random.Generator, thing: SceneObject, concept: int, perspective: float) -> Image.Image:
    """The sprite in a size, turn and colour of its own; RGBA."""
    side = rng.uniform(*_SIDES[thing.size]) * perspective
    turn = float(np.deg2rad(rng.normal(0, _TURNS[thing.place])))
    sprite = _turned(
        sprites(halved=side <= SPRITE_SIZE / 2)[concept], side, turn, mirrored=rng.random() < 0.5
    )
    hue = rng.uniform(0, 2 * np.pi) if thing.recolour and rng.random() < 0.6 else rng.normal(0, 0.12)
    matrix = _colour_matrix(float(hue), float(rng.uniform(0.75, 1.15)), float(rng.uniform(0.85, 1.1)))
    coloured = sprite.convert("RGB").convert("RGB", matrix)
    coloured.putalpha(sprite.getchannel("A"))
    return coloured


def _turned(sprite: Image.Image, side: float, turn: float, *, mirrored: bool) -> Image.Image:
    """Scale the longer side to `side`, mirror and turn (radians), in one resampling; RGBa in, RGBA out."""
    scale = side / max(sprite.size)
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    width = scale * (abs(cosine) * sprite.width + abs(sine) * sprite.height)
    height = scale * (abs(sine) * sprite.width + abs(cosine) * sprite.height)
    flip = -1.0 if mirrored else 1.0
    # From a pixel of the result back to a pixel of the sprite, both measured from their centres.
    a, b, c, d = flip * cosine / scale, flip * sine / scale, -sine / scale, cosine / scale
    columns, rows = max(4, round(width)), max(4, round(height))
    x, y = sprite.width / 2 - (a * columns + b * rows) / 2, sprite.height / 2 - (c * columns + d * rows) / 2
    return sprite.transform(
        (columns, rows), Image.Transform.AFFINE, (a, b, x, c, d, y), resample=Image.Resampling.BILINEAR
    ).convert("RGBA")


def _colour_matrix(hue: float, saturation: float, brightness: float) -> tuple[float, ...]:
    """Turn the hue (radians) at equal luma, scale saturation and brightness: 3 × 4 on RGB, row by row."""
    luma_C = np.array([0.299, 0.587, 0.114])
    from_yiq_33 = np.array([[1.0, 0.956, 0.619], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
    cosine, sine = np.cos(hue) * saturation, np.sin(hue) * saturation
    turned_33 = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    to_yiq_33 = np.vstack([luma_C, np.linalg.inv(from_yiq_33)[1:]])
    matrix_34 = np.zeros((3, 4))
    matrix_34[:, :3] = brightness * from_yiq_33 @ turned_33 @ to_yiq_33
    return tuple(matrix_34.ravel().tolist())


def _opaque(cutout: Cutout) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """The part of the image a cutout lies on, and where in it the cutout is opaque."""
    top, left = max(0, cutout.top), max(0, cutout.left)
    bottom = min(IMAGE_SIZE, cutout.foot)
    right = min(IMAGE_SIZE, cutout.left + cutout.sprite.width)
    bottom, right = max(top, bottom), max(left, right)
    alpha_HW = cutout.alpha[top - cutout.top : bottom - cutout.top, left - cutout.left : right - cutout.left]
    return (slice(top, bottom), slice(left, right)), alpha_HW >= 128
