"""What the runs of the training experiment gave: lines in a file, and the table and the plot made of them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

COLOURS = {
    "caption": "#7f7f7f",
    "caption_nouns": "#1f77b4",
    "topk": "#ff7f0e",
    "cluster": "#d62728",
    "oracle": "#2ca02c",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One evaluation: after `step` steps of the run of (arm, seed). mean_iou, pixel_accuracy: 0 … 1."""

    arm: str
    seed: int
    step: int
    mean_iou: float
    pixel_accuracy: float
    seconds: float
    """Since the run was begun or taken up again."""


@dataclass(frozen=True)
class Results:
    """The lines in a file, written as they come. A line that was cut off by a crash does not count."""

    file: Path

    def lines(self) -> list[Line]:
        """All that there are."""
        if not self.file.exists():
            return []
        whole, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")
        return [Line(**json.loads(text)) for text in whole.splitlines()]

    def add(self, line: Line) -> None:
        """Append one; it is with the system when this returns."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line)) + "\n")

    def go_on(self, arm: str, seed: int, *, step: int) -> None:
        """Drop lines of a run after the step that it goes on from, which will be evaluated again."""
        kept = [line for line in self.lines() if (line.arm, line.seed) != (arm, seed) or line.step <= step]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text("".join(json.dumps(asdict(line)) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self.file)


def at_step(lines: Iterable[Line], step: int) -> dict[str, dict[int, Line]]:
    """arm → seed → line, of those after so many steps."""
    lines_of_arms: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line.step == step:
            lines_of_arms.setdefault(line.arm, {})[line.seed] = line
    return lines_of_arms


class Spread(NamedTuple):
    """Mean and sample standard deviation, which is not a number for a single value."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan)

    def percent(self, *, sign: bool = False) -> str:
        """As points of a hundred.

        >>> Spread(0.125, 0.01).percent()
        '12.50 ± 1.00'
        """
        deviation = "–" if math.isnan(self.deviation) else f"{100 * self.deviation:.2f}"
        return f"{100 * self.mean:{'+' if sign else ''}.2f} ± {deviation}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """mIoU of one arm less that of another with the same seed: same first weights, same order, same crops.

    differences: by seed, of the seeds that both have.
    """

    arm: str
    other: str
    differences: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Over the seeds."""
        return Spread.of(self.differences)

    @property
    def standard_errors(self) -> float:
        """The mean in standard errors: Student's t of the pairs."""
        mean, deviation = self.spread
        return mean / (deviation / math.sqrt(len(self.differences))) if deviation > 0 else math.nan

    @property
    def better(self) -> int:
        """Seeds with which the first arm is ahead."""
        return sum(difference > 0 for difference in self.differences)


def paired(results: dict[str, dict[int, Line]], arm: str, other: str) -> Difference | None:
    """The arms' difference; None where they have no seed in common."""
    first, second = results.get(arm, {}), results.get(other, {})
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    return Difference(
        arm=arm,
        other=other,
        differences=tuple(first[seed].mean_iou - second[seed].mean_iou for seed in shared),
    )


def all_paired(results: dict[str, dict[int, Line]], arms: Sequence[str]) -> list[Difference]:
    """Every later arm against every earlier one."""
    pairs = (paired(results, later, earlier) for earlier, later in combinations(arms, 2))
    return [pair for pair in pairs if pair is not None]


def arms_table(results: dict[str, dict[int, Line]], arms: Sequence[str]) -> str:
    """mIoU by arm, in Markdown."""
    rows = ["| arm | seeds | mIoU, % | by seed | pixel accuracy, % |", "|---|---|---|---|---|"]
    for arm in arms:
        if arm not in results:
            continue
        lines = [results[arm][seed] for seed in sorted(results[arm])]
        by_seed = ", ".join(f"{100 * line.mean_iou:.2f}" for line in lines)
        scores = Spread.of([line.mean_iou for line in lines]).percent()
        accuracy = Spread.of([line.pixel_accuracy for line in lines]).percent()
        rows.append(f"| {arm} | {len(lines)} | {scores} | {by_seed} | {accuracy} |")
    return "\n".join(rows)


def differences_table(differences: Sequence[Difference]) -> str:
    """Paired differences, in Markdown."""
    rows = ["| difference in mIoU | points | in standard errors | ahead |", "|---|---|---|---|"]
    for difference in differences:
        errors = "–" if math.isnan(difference.standard_errors) else f"{difference.standard_errors:+.1f}"
        ahead = f"{difference.better} of {len(difference.differences)}"
        rows.append(
            f"| {difference.arm} − {difference.other} | {difference.spread.percent(sign=True)} "
            f"| {errors} | {ahead} |"
        )
    return "\n".join(rows)


def curves(lines: Iterable[Line]) -> dict[str, dict[int, Spread]]:
    """arm → step → mIoU over the seeds that were evaluated there."""
    values: dict[str, dict[int, list[float]]] = {}
    for line in lines:
        values.setdefault(line.arm, {}).setdefault(line.step, []).append(line.mean_iou)
    return {
        arm: {step: Spread.of(by_step[step]) for step in sorted(by_step)} for arm, by_step in values.items()
    }


def plot(lines: Iterable[Line], arms: Sequence[str], file: Path, *, title: str) -> None:
    """Draw mIoU by step, a line for each arm and a band of one deviation over its seeds, as a small PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - slow, and only the end of an experiment draws

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - after the backend was chosen

    by_arm = curves(lines)
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for arm in (arm for arm in arms if arm in by_arm):
        steps = list(by_arm[arm])
        means = [100 * spread.mean for spread in by_arm[arm].values()]
        deviations = [
            100 * (spread.deviation if spread.deviation > 0 else 0) for spread in by_arm[arm].values()
        ]
        axes.plot(steps, means, color=COLOURS.get(arm), label=arm.replace("_", " "), marker=".")
        low = [mean - deviation for mean, deviation in zip(means, deviations, strict=True)]
        high = [mean + deviation for mean, deviation in zip(means, deviations, strict=True)]
        axes.fill_between(steps, low, high, color=COLOURS.get(arm), alpha=0.15, linewidth=0)
    axes.set(xlabel="step", ylabel="mIoU on held-out scenes, %", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    partial = file.with_suffix(".partial.png")
    figure.savefig(partial, dpi=100)
    pyplot.close(figure)
    partial.replace(file)
