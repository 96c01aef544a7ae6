"""The training experiment's lines, tables and plot."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from benchmarks.experiment_results import (
    Line,
    Results,
    Spread,
    all_paired,
    arms_table,
    at_step,
    curves,
    differences_table,
    paired,
    plot,
)
from PIL import Image

SCORES = {"caption": (0.10, 0.12, 0.11), "cluster": (0.15, 0.16, 0.11), "oracle": (0.2, 0.2, 0.2)}
"""mIoU after 20 steps by seed."""


def line(arm: str, seed: int, step: int, mean_iou: float) -> Line:
    return Line(arm=arm, seed=seed, step=step, mean_iou=mean_iou, pixel_accuracy=2 * mean_iou, seconds=1.0)


def lines() -> list[Line]:
    return [
        line(arm, seed, step, score * (step / 20))
        for arm, scores in SCORES.items()
        for seed, score in enumerate(scores)
        for step in (10, 20)
    ]


def test_lines_come_back_as_they_were_written_but_for_one_that_was_cut_off(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    assert results.lines() == []
    for each in lines():
        results.add(each)
    with results.file.open("a") as file:
        file.write('{"arm": "caption", "seed": 3, "st')
    assert results.lines() == lines()
    # The next one is not glued to what was cut off.
    results.go_on("caption", 3, step=0)
    results.add(line("caption", 3, 10, 0.5))
    assert results.lines() == [*lines(), line("caption", 3, 10, 0.5)]


def test_a_run_that_goes_on_loses_its_own_later_lines_only(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    for each in lines():
        results.add(each)
    results.go_on("cluster", 1, step=10)
    assert results.lines() == [each for each in lines() if each != line("cluster", 1, 20, 0.16)]


def test_only_what_was_evaluated_at_the_end_counts_as_found() -> None:
    found = at_step([*lines(), line("topk", 0, 10, 0.9)], 20)
    assert found.keys() == SCORES.keys()
    assert [found["cluster"][seed].mean_iou for seed in range(3)] == list(SCORES["cluster"])


def test_the_deviation_is_that_of_a_sample() -> None:
    spread = Spread.of([0.1, 0.12, 0.11])
    assert spread == pytest.approx((0.11, 0.01))
    assert spread.percent() == "11.00 ± 1.00"
    assert Spread.of([0.1]).mean == 0.1
    assert math.isnan(Spread.of([0.1]).deviation)
    assert Spread.of([0.1]).percent() == "10.00 ± –"


def test_arms_are_compared_seed_by_seed() -> None:
    # The cluster run of seed 2 is not there yet.
    found = at_step([each for each in lines() if (each.arm, each.seed) != ("cluster", 2)], 20)
    difference = paired(found, "cluster", "caption")
    assert difference is not None
    assert difference.differences == pytest.approx((0.05, 0.04))
    assert difference.better == 2
    # 0.045 ± 0.00707 over two seeds: 0.045 / 0.005.
    assert difference.standard_errors == pytest.approx(9.0)
    assert paired(found, "cluster", "topk") is None


def test_equal_seeds_are_not_ahead_and_have_no_standard_error() -> None:
    found = {"oracle": {0: line("oracle", 0, 1, 0.2)}, "caption": {0: line("caption", 0, 1, 0.2)}}
    difference = paired(found, "oracle", "caption")
    assert difference is not None
    assert difference.better == 0
    assert math.isnan(difference.standard_errors)


def test_tables_have_a_row_for_every_arm_and_every_pair() -> None:
    found = at_step(lines(), 20)
    arms = ("caption", "caption_nouns", "cluster", "oracle")
    table = arms_table(found, arms).splitlines()
    assert table[2] == "| caption | 3 | 11.00 ± 1.00 | 10.00, 12.00, 11.00 | 22.00 ± 2.00 |"
    assert [row.split()[1] for row in table[2:]] == ["caption", "cluster", "oracle"]
    differences = differences_table(all_paired(found, arms)).splitlines()
    assert differences[2].startswith("| cluster − caption | +3.00 ± 2.65 | +2.0 | 2 of 3 |")
    assert len(differences) == 2 + 3


def test_curves_are_means_over_seeds_by_step() -> None:
    assert curves(lines())["caption"] == {
        10: pytest.approx((0.055, 0.005)),
        20: pytest.approx((0.11, 0.01)),
    }


def test_the_plot_is_a_small_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(lines(), tuple(SCORES), tmp_path / "convergence.png", title="scenes")
    with Image.open(tmp_path / "convergence.png") as picture:
        assert picture.size == (700, 420)
    assert (tmp_path / "convergence.png").stat().st_size < 100_000
    assert len(list(tmp_path.iterdir())) == 1
