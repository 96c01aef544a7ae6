"""The backgrounds of scenes, drawn for every image: one function per kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu_scenes.canvas import Canvas, Colour, Point, jitter, mix, ridge

_WHITE: Colour = (255, 255, 255)
# Upper and lower colour of the sky, by light.
_SKIES: dict[str, tuple[tuple[Colour, Colour], ...]] = {
    "day": (
        ((74, 150, 228), (190, 226, 250)),
        ((104, 176, 236), (222, 240, 250)),
        ((58, 128, 214), (168, 214, 246)),
    ),
    "overcast": (((150, 164, 178), (206, 214, 220)), ((168, 178, 190), (224, 226, 228))),
    "dusk": (
        ((92, 84, 150), (250, 176, 112)),
        ((120, 96, 160), (255, 150, 110)),
        ((210, 120, 110), (255, 214, 140)),
    ),
    "night": (((16, 22, 56), (52, 66, 120)), ((22, 20, 62), (70, 62, 126))),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An empty scene: image float32 [S, S, 3] in grey levels, mask uint8 [S, S], where the ground begins.

    `horizon` is a part of the height; it is 1.0 where there is no ground to stand on.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    horizon: float


def draw_setting(rng: np.random.Generator, kind: str, light: str) -> Setting:
    """Draw the background `kind` (a name of `backgrounds()`) by "day", "overcast", "dusk" or "night"."""
    canvas = Canvas()
    horizon = _DRAWERS[kind](rng, canvas, light)
    image_SSC, mask_SS = canvas.finish(rng)
    return Setting(image=image_SSC, mask=mask_SS, horizon=horizon)


def _sky(rng: np.random.Generator, canvas: Canvas, light: str, *, end: float, clouds: int) -> None:
    top, bottom = _SKIES[light][rng.integers(len(_SKIES[light]))]
    canvas.gradient(jitter(rng, top, 14), jitter(rng, bottom, 10), end=end, label="sky")
    if light == "night":
        for x, y, size in rng.uniform((0, 0, 0.002), (1, end, 0.006), size=(24, 3)).tolist():
            canvas.disc(x, y, size, size, (226, 230, 250))
    elif light != "overcast" and rng.random() < 0.5:
        x, y, size = rng.uniform((0.1, 0.08, 0.05), (0.9, max(0.1, 0.6 * end), 0.08)).tolist()
        canvas.disc(x, y, size, size, (255, 236, 150) if light == "day" else (255, 214, 130))
    cloud = {"day": _WHITE, "overcast": (196, 202, 208), "dusk": (255, 206, 178), "night": (64, 74, 122)}[
        light
    ]
    for _ in range(clouds):
        x, y, size = rng.uniform((0, 0.06, 0.05), (1, max(0.08, 0.8 * end), 0.1)).tolist()
        _cloud(rng, canvas, x, y, size=size, colour=cloud)


def _cloud(
    rng: np.random.Generator, canvas: Canvas, x: float, y: float, *, size: float, colour: Colour
) -> None:
    for shift, radius in zip(
        np.linspace(-1.5, 1.5, 5).tolist(), rng.uniform(0.5, 1.0, 5).tolist(), strict=True
    ):
        canvas.disc(x + shift * size, y - 0.25 * size * radius, size * radius, 0.62 * size * radius, colour)


def _meadow(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.32, 0.46))
    _sky(rng, canvas, light, end=horizon + 0.12, clouds=int(rng.integers(0, 4)))
    green = jitter(rng, (96, 168, 66), 22)
    canvas.below(ridge(rng, horizon, 0.03), mix(green, (150, 190, 170), 0.4), green, label="meadow")
    canvas.below(
        ridge(rng, horizon + 0.1, 0.025),
        mix(green, _WHITE, 0.12),
        mix(green, (30, 90, 30), 0.45),
        label="meadow",
    )
    flower = ((250, 240, 120), (250, 250, 250), (244, 150, 180), (200, 150, 240))[rng.integers(4)]
    for x, y in rng.uniform((0, horizon + 0.12), (1, 1), size=(int(rng.integers(0, 26)), 2)).tolist():
        canvas.disc(x, y, 0.007, 0.006, flower)
    return horizon + 0.08


def _beach(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.26, 0.4))
    _sky(rng, canvas, light, end=horizon, clouds=int(rng.integers(0, 4)))
    water = jitter(rng, (40, 150, 190), 20)
    canvas.below(
        [(-0.02, horizon), (1.02, horizon)],
        mix(water, (10, 60, 130), 0.35),
        mix(water, _WHITE, 0.45),
        label="sea",
    )
    shore = ridge(rng, horizon + float(rng.uniform(0.12, 0.2)), 0.02)
    sand = jitter(rng, (234, 208, 152), 14)
    canvas.below(shore, sand, mix(sand, (190, 150, 90), 0.5), label="beach")
    canvas.line([(x, y) for x, y in shore], (250, 250, 248), width=0.016)
    for x, y in rng.uniform((0, horizon + 0.24), (1, 1), size=(14, 2)).tolist():
        canvas.disc(x, y, 0.008, 0.004, mix(sand, (140, 100, 60), 0.4))
    return horizon + 0.18


def _sea(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.2, 0.36))
    _sky(rng, canvas, light, end=horizon, clouds=int(rng.integers(0, 4)))
    water = jitter(rng, ((28, 104, 170), (20, 128, 160), (40, 86, 150))[rng.integers(3)], 16)
    canvas.below(
        [(-0.02, horizon), (1.02, horizon)],
        mix(water, _WHITE, 0.3),
        mix(water, (4, 24, 70), 0.5),
        label="sea",
    )
    for x, depth, size in rng.uniform((0, 0.05, 0.4), (1, 1, 1), size=(26, 3)).tolist():
        y = horizon + depth * (1 - horizon)
        _wave(canvas, x, y, 0.07 * size * (0.4 + depth), mix(water, _WHITE, 0.5))
    return horizon


def _wave(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    points: list[Point] = [
        (x - size, y),
        (x - 0.5 * size, y - 0.22 * size),
        (x, y),
        (x + 0.5 * size, y - 0.22 * size),
    ]
    canvas.line([*points, (x + size, y)], colour, width=0.006)


def _snow(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.34, 0.48))
    _sky(
        rng,
        canvas,
        "overcast" if light == "day" and rng.random() < 0.5 else light,
        end=horizon + 0.12,
        clouds=0,
    )
    shade = jitter(rng, (206, 220, 240), 10)
    canvas.below(ridge(rng, horizon, 0.04), mix(shade, (160, 180, 215), 0.4), shade, label="snow")
    canvas.below(ridge(rng, horizon + 0.12, 0.03), (250, 252, 255), shade, label="snow")
    for x, y, size in rng.uniform((0, 0, 0.003), (1, 1, 0.009), size=(int(rng.integers(0, 60)), 3)).tolist():
        canvas.disc(x, y, size, size, _WHITE)
    return horizon + 0.08


def _desert(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.3, 0.46))
    _sky(rng, canvas, light, end=horizon + 0.14, clouds=0)
    sand = jitter(rng, ((226, 168, 92), (214, 146, 84), (236, 190, 120))[rng.integers(3)], 12)
    for step in range(3):
        line = ridge(rng, horizon + 0.14 * step, 0.035, waves=2)
        canvas.below(
            line, mix(sand, _WHITE, 0.3 - 0.1 * step), mix(sand, (130, 70, 30), 0.35), label="desert"
        )
    return horizon + 0.06


def _road(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.34, 0.46))
    _sky(rng, canvas, light, end=horizon + 0.05, clouds=int(rng.integers(0, 4)))
    verge = jitter(rng, (128, 160, 92), 18)
    canvas.below(
        ridge(rng, horizon, 0.015), mix(verge, _WHITE, 0.2), mix(verge, (60, 90, 40), 0.3), label="meadow"
    )
    asphalt = jitter(rng, (104, 106, 114), 16)
    top, bottom = horizon + float(rng.uniform(0.1, 0.14)), float(rng.uniform(0.93, 1.1))
    canvas.shaded(
        [(-0.02, top), (1.02, top), (1.02, bottom), (-0.02, bottom)],
        mix(asphalt, _WHITE, 0.15),
        asphalt,
        label="road",
    )
    canvas.box(-0.02, top, 1.02, top + 0.012, mix(asphalt, _WHITE, 0.7))
    canvas.box(-0.02, bottom - 0.022, 1.02, bottom, mix(asphalt, _WHITE, 0.7))
    middle, start = (top + bottom) / 2, float(rng.uniform(-0.2, 0))
    for x in np.arange(start, 1.1, 0.26).tolist():
        canvas.polygon(
            [(x, middle), (x + 0.14, middle), (x + 0.13, middle + 0.025), (x - 0.01, middle + 0.025)],
            (244, 240, 222),
        )
    return top


def _forest(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.5, 0.62))
    leaves = jitter(rng, (52, 112, 58), 18)
    haze = mix(leaves, _SKIES[light][0][1], 0.55)
    canvas.gradient(haze, mix(haze, leaves, 0.4), end=1.0, label="forest")
    for depth, count in ((0.35, 9), (0.7, 7)):
        trunk = mix(haze, jitter(rng, (84, 60, 44), 10), depth)
        for x, width in rng.uniform((0, 0.012), (1, 0.03), size=(count, 2)).tolist():
            canvas.box(x - width * depth, 0, x + width * depth, horizon + 0.08, trunk)
        for x, y, size in rng.uniform((0, -0.04, 0.07), (1, 0.26, 0.14), size=(9, 3)).tolist():
            canvas.disc(
                x,
                y,
                size,
                0.7 * size,
                mix(haze, mix(leaves, (20, 60, 30), float(rng.random()) * 0.5), depth + 0.2),
            )
    ground = jitter(rng, (92, 88, 48), 14)
    canvas.below(
        ridge(rng, horizon, 0.02), mix(ground, leaves, 0.6), mix(ground, (50, 40, 24), 0.4), label="forest"
    )
    return horizon


def _mountain(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.5, 0.6))
    _sky(rng, canvas, light, end=horizon + 0.12, clouds=int(rng.integers(0, 3)))
    rock = jitter(rng, ((112, 118, 136), (128, 112, 106), (96, 112, 128))[rng.integers(3)], 14)
    for x in rng.permutation(np.linspace(0.08, 0.92, 4)).tolist():
        _peak(rng, canvas, x + float(rng.uniform(-0.08, 0.08)), horizon + 0.1, jitter(rng, rock, 12))
    green = jitter(rng, (104, 148, 84), 20)
    canvas.below(
        ridge(rng, horizon, 0.02), mix(green, _WHITE, 0.1), mix(green, (40, 80, 40), 0.4), label="meadow"
    )
    return horizon + 0.04


def _peak(rng: np.random.Generator, canvas: Canvas, x: float, foot: float, rock: Colour) -> None:
    height, spread = rng.uniform((0.3, 0.24), (0.5, 0.36)).tolist()
    top = foot - height
    canvas.polygon([(x, top), (x + spread, foot), (x - spread, foot)], rock, label="mountain")
    canvas.polygon([(x, top), (x + spread, foot), (x + 0.1 * spread, foot)], mix(rock, (40, 44, 60), 0.35))
    cap = 0.3
    canvas.polygon(
        [(x, top), (x + cap * spread, top + cap * height), (x + 0.1 * spread, top + 0.75 * cap * height),
         (x - 0.08 * spread, top + 1.1 * cap * height), (x - cap * spread, top + cap * height)],
        (244, 247, 252),
    )  # fmt: skip


def _city(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    horizon = float(rng.uniform(0.6, 0.7))
    _sky(rng, canvas, light, end=horizon, clouds=int(rng.integers(0, 3)))
    dark = light in ("night", "dusk")
    wall = (44, 48, 78) if dark else ((150, 138, 140), (132, 142, 158), (176, 150, 126))[rng.integers(3)]
    left = -0.04
    while left < 1.0:
        width, height = rng.uniform((0.12, 0.22), (0.22, 0.52)).tolist()
        _building(
            rng,
            canvas,
            (left, horizon - height, left + width, horizon + 0.02),
            jitter(rng, wall, 20),
            lit=dark,
        )
        left += width + float(rng.uniform(-0.01, 0.01))
    pavement = mix(jitter(rng, (120, 120, 126), 14), (40, 40, 60), 0.4 if dark else 0.0)
    canvas.below(
        [(-0.02, horizon), (1.02, horizon)],
        mix(pavement, _WHITE, 0.15),
        mix(pavement, (40, 40, 50), 0.3),
        label="city",
    )
    canvas.box(-0.02, horizon, 1.02, horizon + 0.02, mix(pavement, _WHITE, 0.35))
    return horizon + 0.02


def _building(
    rng: np.random.Generator,
    canvas: Canvas,
    box: tuple[float, float, float, float],
    wall: Colour,
    *,
    lit: bool,
) -> None:
    left, top, right, bottom = box
    canvas.box(left, top, right, bottom, wall, label="city")
    glass = mix(wall, (20, 24, 40), 0.4) if lit else mix(wall, (206, 226, 240), 0.6)
    columns = max(2, round((right - left) / 0.05))
    step = (right - left) / columns
    for y in np.arange(top + 0.03, bottom - 0.04, 0.055).tolist():
        for column, chance in enumerate(rng.random(columns).tolist()):
            x = left + (column + 0.28) * step
            canvas.box(x, y, x + 0.45 * step, y + 0.03, (255, 220, 130) if lit and chance < 0.5 else glass)


def _room(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    floor = float(rng.uniform(0.52, 0.66))
    papers: tuple[Colour, ...] = (
        (226, 214, 190),
        (188, 208, 214),
        (212, 190, 196),
        (196, 212, 184),
        (228, 222, 232),
        (232, 206, 160),
    )
    paper = jitter(rng, papers[rng.integers(len(papers))], 10)
    canvas.gradient(mix(paper, _WHITE, 0.15), paper, end=1.0, label="room")
    pattern = int(rng.integers(3))
    for x in np.arange(0.03, 1.0, 0.1).tolist():
        if pattern == 0:
            canvas.box(x, 0, x + 0.045, floor, mix(paper, (120, 110, 120), 0.1))
        elif pattern == 1:
            for y in np.arange(0.05, floor, 0.1).tolist():
                canvas.disc(x, y, 0.012, 0.012, mix(paper, (120, 110, 120), 0.16))
    if rng.random() < 0.5:
        _window(rng, canvas, float(rng.uniform(0.12, 0.6)), light)
    woods: tuple[Colour, ...] = (
        (170, 118, 74),
        (142, 98, 66),
        (196, 152, 104),
        (150, 150, 158),
        (120, 84, 84),
    )
    wood = jitter(rng, woods[rng.integers(len(woods))], 12)
    canvas.below(
        [(-0.02, floor), (1.02, floor)], mix(wood, (40, 24, 10), 0.2), mix(wood, _WHITE, 0.12), label="room"
    )
    for x in np.arange(-1.6, 2.7, 0.3).tolist():
        canvas.line(
            [(0.5 + (x - 0.5) * 0.5, floor), (0.5 + (x - 0.5) * 1.2, 1.02)],
            mix(wood, (40, 24, 10), 0.3),
            width=0.004,
        )
    canvas.box(-0.02, floor - 0.025, 1.02, floor, mix(paper, _WHITE, 0.6))
    return floor


def _window(rng: np.random.Generator, canvas: Canvas, left: float, light: str) -> None:
    top, width, height = rng.uniform((0.06, 0.2, 0.22), (0.12, 0.28, 0.3)).tolist()
    upper, lower = _SKIES[light][0]
    canvas.box(left - 0.015, top - 0.015, left + width + 0.015, top + height + 0.015, (246, 244, 240))
    for column in range(2):
        for row in range(2):
            x, y = left + column * width / 2, top + row * height / 2
            corners = [
                (x, y),
                (x + width / 2 - 0.01, y),
                (x + width / 2 - 0.01, y + height / 2 - 0.01),
                (x, y + height / 2 - 0.01),
            ]
            canvas.shaded(corners, upper, lower)


def _open_sky(rng: np.random.Generator, canvas: Canvas, light: str) -> float:
    _sky(rng, canvas, light, end=1.0, clouds=int(rng.integers(3, 9)))
    return 1.0


_DRAWERS: dict[str, Callable[[np.random.Generator, Canvas, str], float]] = {
    "sky": _open_sky,
    "meadow": _meadow,
    "beach": _beach,
    "sea": _sea,
    "snow": _snow,
    "desert": _desert,
    "road": _road,
    "forest": _forest,
    "mountain": _mountain,
    "city": _city,
    "room": _room,
}
