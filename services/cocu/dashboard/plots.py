"""Plots as inline SVG, made on the server: they need no script, and their figures stand beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 480.0
HEIGHT: Final = 200.0
LEFT: Final = 44.0
BOTTOM: Final = 28.0
TOP: Final = 12.0


@dataclass(frozen=True)
class Curve:
    """A line of a plot: its name, its points as SVG coordinates, and its end, where the name stands."""

    name: str
    points: str
    end: tuple[float, float]
    first: int
    length: int


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram, as SVG numbers, and what it counts: values from `low` to `high`."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """The bars of a histogram, and the largest count."""

    bars: tuple[Bar, ...]
    largest: int


def rank_frequency(*, captions: Sequence[int], archives: Sequence[int]) -> tuple[Curve, ...]:
    """Frequencies by rank, both logarithmic, of counts that descend; a curve without counts is left out."""
    largest = max([*captions[:1], *archives[:1]], default=0)
    longest = max(len(captions), len(archives))
    if largest < 2 or longest < 2:
        return ()
    curves = []
    for name, counts in (("captions", captions), ("archives", archives)):
        positive = [count for count in counts if count > 0]
        if not positive:
            continue
        places = [
            (_across(math.log(rank), math.log(longest)), _up(math.log(count), math.log(largest)))
            for rank, count in enumerate(positive, 1)
            # Ranks that fall on the same pixel are one point.
            if rank <= 20 or rank % max(1, rank // 20) == 0 or rank == len(positive)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        curves.append(Curve(name, points, places[-1], positive[0], len(positive)))
    return tuple(curves)


def bars(edges: Sequence[float], counts: Sequence[int]) -> Histogram | None:
    """The bars of a histogram with these edges; None without any value."""
    largest = max(counts, default=0)
    if not largest:
        return None
    low, high = edges[0], edges[-1]
    span = (high - low) or 1.0
    drawn = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        x, end = _across(left - low, span), _across(right - low, span)
        y = _up(count, largest)
        drawn.append(Bar(x, y, max(0.5, end - x - 1), HEIGHT - BOTTOM - y, left, right, count))
    return Histogram(tuple(drawn), largest)


@dataclass(frozen=True)
class Whisker:
    """A share with its interval, as SVG numbers: its place, and heights from the least to the most likely."""

    x: float
    middle: float
    low: float
    high: float


def precision_plot(shares: Sequence[tuple[float | None, float | None, float | None]]) -> tuple[Whisker, ...]:
    """Shares with their intervals (share, low, high), side by side; those that are not known are left out."""
    return tuple(
        Whisker(_across(index + 0.5, len(shares)), _up(share, 1), _up(low, 1), _up(high, 1))
        for index, (share, low, high) in enumerate(shares)
        if share is not None and low is not None and high is not None
    )


def share_height(share: float) -> float:
    """The height of a share in a plot of shares."""
    return _up(share, 1)


def _across(value: float, span: float) -> float:
    return LEFT + (WIDTH - LEFT - 8) * value / span


def _up(value: float, span: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / span
