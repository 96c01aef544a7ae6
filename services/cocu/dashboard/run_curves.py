"""Curves of training runs as inline SVG: several runs in one plot, told apart by dash and by a letter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cocu.dashboard.rendering import figure, percent
from cocu.schemas.training import RunSeries, Series

WIDTH: Final = 480.0
HEIGHT: Final = 200.0
LEFT: Final = 56.0
RIGHT: Final = 24.0
TOP: Final = 12.0
BOTTOM: Final = 28.0
LINE_HEIGHT: Final = 12.0
MOST_LINES: Final = 6
FIRST: Final = ("mean_iou", "loss", "pixel_accuracy", "caption_loss", "concept_loss", "images_per_second")
"""Figures that are looked at first, in this order; others follow by name."""
NAMES: Final[Mapping[str, str]] = {
    "mean_iou": "mIoU",
    "loss": "Loss",
    "pixel_accuracy": "Pixel accuracy",
    "caption_loss": "Loss of captions",
    "concept_loss": "Loss of concepts",
    "images_per_second": "Images per second",
    "learning_rate": "Learning rate",
    "gradient_norm": "Norm of the gradient",
    "collision_rate": "Texts whose concept another image has",
    "wait_seconds": "Seconds waited for a batch",
}
SHARES: Final = frozenset({"mean_iou", "pixel_accuracy", "collision_rate"})
"""Figures that are written as percentages."""
SHOWN: Final = 24
"""Figures that are drawn."""


@dataclass(frozen=True)
class Marked:
    """A value and the step after which it was recorded, as text."""

    value: str
    step: int


@dataclass(frozen=True)
class Line:
    """A run in a plot. letter: its label, at `end`. dash: 1 to 6. points: SVG coordinates."""

    letter: str
    dash: int
    points: str
    end: tuple[float, float]
    count: int
    first: Marked
    lowest: Marked
    highest: Marked
    last: Marked


@dataclass(frozen=True)
class Plot:
    """A figure of one run or several. low, high: the values at the axis. steps: the last step at the axis."""

    name: str
    title: str
    lines: tuple[Line, ...]
    low: str
    high: str
    steps: int


def plots(runs: Mapping[str, RunSeries]) -> tuple[Plot, ...]:
    """A plot for every figure that any of the runs has. runs: at most six, by the letter of their label."""
    drawn = []
    for is_evaluation in (True, False):
        of_runs = {
            letter: series.evaluations if is_evaluation else series.steps for letter, series in runs.items()
        }
        for name in dict.fromkeys(name for figures in of_runs.values() for name in figures):
            curves = {
                letter: figures[name]
                for letter, figures in of_runs.items()
                if name in figures and figures[name].step
            }
            if curves:
                drawn.append(_plot(name, curves, dashes={letter: at for at, letter in enumerate(runs, 1)}))
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    return tuple(sorted(drawn, key=lambda plot: (ranks.get(plot.name, len(FIRST)), plot.name))[:SHOWN])


def _plot(name: str, curves: Mapping[str, Series], *, dashes: Mapping[str, int]) -> Plot:
    low = min(min(series.value) for series in curves.values())
    high = max(max(series.value) for series in curves.values())
    steps = max(series.step[-1] for series in curves.values())
    # A figure that never changes is a line in the middle.
    bottom, span = (low, high - low) if high > low else (low - 0.5, 1.0)

    def written(value: float) -> str:
        return percent(value, 1) if name in SHARES else figure(value)

    def marked(series: Series, at: int) -> Marked:
        return Marked(written(series.value[at]), series.step[at])

    def place(step: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(steps, 1)
        # Halves: the difference of two large values may be infinite, that of their halves is not.
        share = (value / 2 - bottom / 2) / (span / 2) if math.isfinite(span) else 0.5
        return x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    ends = {letter: place(series.step[-1], series.value[-1]) for letter, series in curves.items()}
    labels = _apart(ends)
    lines = tuple(
        Line(
            letter,
            dashes[letter],
            " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, series.step, series.value)),
            labels[letter],
            len(series.step),
            marked(series, 0),
            marked(series, min(range(len(series.value)), key=series.value.__getitem__)),
            marked(series, max(range(len(series.value)), key=series.value.__getitem__)),
            marked(series, len(series.step) - 1),
        )
        for letter, series in curves.items()
    )
    return Plot(name, NAMES.get(name, name), lines, written(low), written(high), steps)


def _apart(ends: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Places of labels beside the ends of lines, moved up and down until none lies upon another."""
    labels: dict[str, tuple[float, float]] = {}
    column: dict[str, tuple[float, float]] = {}
    for letter, (x, y) in sorted(ends.items(), key=lambda end: end[1]):
        # Only labels of lines that end at nearly the same step are in each other's way.
        if column and x - max(end[0] for end in column.values()) >= LINE_HEIGHT:
            labels |= _spread(column)
            column = {}
        column[letter] = (x, y)
    return labels | _spread(column)


def _spread(ends: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Places of the labels of one column, none above another by less than a line."""
    labels: dict[str, tuple[float, float]] = {}
    lowest = TOP - LINE_HEIGHT
    for letter, (x, y) in sorted(ends.items(), key=lambda end: end[1][1]):
        lowest = max(y + 4, lowest + LINE_HEIGHT)
        labels[letter] = (x + 4, lowest)
    excess = max(0.0, lowest - (HEIGHT - BOTTOM + 4))
    return {letter: (x, y - excess) for letter, (x, y) in labels.items()}


def letters(count: int) -> Sequence[str]:
    """The labels of so many runs."""
    return "ABCDEF"[:count]
