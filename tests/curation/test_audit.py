"""The audit of added concepts: its bins, its order of dealing, and its estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.audit import (
    BINS,
    DEALT_PER_BIN,
    Stratum,
    bins_of,
    choose,
    dealing_order,
    estimate_precision,
    find_bins,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("right", "judged", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (Wilson's score interval).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0, 1),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_intervals_are_those_of_wilson(right: int, judged: int, low: float, high: float) -> None:
    assert wilson_interval(right / max(judged, 1), judged) == pytest.approx((low, high), abs=5e-5)


def test_bounds_of_wilson_solve_his_equation() -> None:
    for right, judged in ((3, 7), (40, 50), (1, 200)):
        for bound in wilson_interval(right / judged, judged):
            distance = abs(right / judged - bound)
            assert distance == pytest.approx(1.959963984540054 * math.sqrt(bound * (1 - bound) / judged))


def test_where_all_are_judged_the_estimate_is_exact() -> None:
    strata = [Stratum(7, 7, 3), Stratum(120, 120, 100), Stratum(0, 0, 0), Stratum(1, 1, 1)]
    estimate = estimate_precision(strata)
    assert estimate is not None
    assert estimate.precision == pytest.approx(104 / 128)
    assert (estimate.low, estimate.high) == pytest.approx((104 / 128, 104 / 128))


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=12))
def test_where_all_are_right_precision_is_one(sizes: list[int]) -> None:
    estimate = estimate_precision(Stratum(size, size, size) for size in sizes)
    assert estimate is not None
    assert estimate.precision == 1


def test_bins_count_by_their_sizes() -> None:
    estimate = estimate_precision([Stratum(9_000, 10, 9), Stratum(1_000, 10, 1)])
    assert estimate is not None
    assert estimate.precision == pytest.approx(0.9 * 0.9 + 0.1 * 0.1)
    assert 0 <= estimate.low < estimate.precision < estimate.high <= 1


def test_there_is_no_estimate_where_a_bin_is_not_judged() -> None:
    assert estimate_precision([Stratum(5, 5, 5), Stratum(3, 0, 0)]) is None
    assert estimate_precision([]) is None
    assert estimate_precision([Stratum(0, 0, 0)]) is None


def test_one_large_bin_has_the_interval_of_wilson() -> None:
    estimate = estimate_precision([Stratum(10**9, 50, 39)])
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(0.78, 50), abs=1e-6)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Fifty judgements, five of each bin, of curations whose precision is known."""
    generator = np.random.default_rng(0)
    sizes = [1_000] * 10
    held = trials = 0
    for lowest in (0.05, 0.4, 0.75):
        truths = np.linspace(lowest, min(1.0, lowest + 0.5), 10)
        for _ in range(1_000):
            right = generator.binomial(5, truths)
            estimate = estimate_precision(
                Stratum(size, 5, int(count)) for size, count in zip(sizes, right, strict=True)
            )
            assert estimate is not None
            held += estimate.low <= truths.mean() <= estimate.high
            trials += 1
    assert held / trials >= 0.94


@pytest.mark.parametrize("scale", [0.001, 1.0, 2_000.0])
def test_bins_hold_about_equally_many(scale: float) -> None:
    scores = (np.random.default_rng(1).normal(-2, 1.5, 20_000) * scale).astype(np.float32)
    edges = find_bins(scores, lowest=float(scores.min()), highest=float(scores.max()))
    assert len(edges) == BINS + 1
    assert edges[0] <= scores.min()
    assert scores.max() < edges[-1]
    counts = np.bincount(bins_of(scores, edges), minlength=BINS)
    assert counts.sum() == len(scores)
    assert counts.min() > 0.04 * len(scores)
    assert counts.max() < 0.18 * len(scores)
    # Numbers that people can say.
    assert all(len(f"{edge / scale:.6g}".lstrip("-").replace(".", "").strip("0")) <= 3 for edge in edges)


def test_a_bin_is_what_a_filter_by_its_edges_selects() -> None:
    scores = np.round(np.random.default_rng(2).normal(0, 1, 5_000), 1).astype(np.float32)
    edges = find_bins(scores, lowest=float(scores.min()), highest=float(scores.max()))
    bins = bins_of(scores, edges)
    for bin_, edge in enumerate(edges[:-1].tolist()):
        assert (bins >= bin_).sum() == (scores >= edge).sum()


def test_equal_scores_are_one_bin() -> None:
    scores = np.full(50, 1.25, np.float32)
    edges = find_bins(scores, lowest=1.25, highest=1.25)
    assert len(edges) == 2
    assert bins_of(scores, edges).tolist() == [0] * 50


@pytest.mark.parametrize("size", [0, 1, DEALT_PER_BIN, 8 * DEALT_PER_BIN, 8 * DEALT_PER_BIN + 1, 10**7])
def test_choices_are_distinct_and_always_the_same(size: int) -> None:
    chosen = choose("a curation", 3, size)
    assert len(chosen) == len(set(chosen.tolist())) == min(size, DEALT_PER_BIN)
    assert all(0 <= which < size for which in chosen.tolist())
    assert chosen.tolist() == choose("a curation", 3, size).tolist()
    if size > 1:
        assert chosen.tolist() != choose("another curation", 3, size).tolist()


@pytest.mark.parametrize("size", [600, 5_000])
def test_every_concept_of_a_bin_is_as_likely_chosen(size: int) -> None:
    first, half = [], 0
    for trial in range(400):
        chosen = choose(f"curation {trial}", 0, size)
        first.append(int(chosen[0]))
        half += int((chosen < size // 2).sum())
    # Within five standard deviations.
    assert abs(np.mean(first) / size - 0.5) < 5 * math.sqrt(1 / 12 / 400)
    assert abs(half / (400 * DEALT_PER_BIN) - 0.5) < 5 * math.sqrt(0.25 / (400 * DEALT_PER_BIN))


def test_every_round_deals_one_of_each_bin() -> None:
    order = dealing_order("a curation", [3, 1, 0, 2])
    assert len(order) == 6
    assert {bin_ for bin_, place in order[:3]} == {0, 1, 3}
    for bin_ in (0, 1, 3):
        assert [place for of_bin, place in order if of_bin == bin_] == list(range([3, 1, 0, 2][bin_]))
    rounds = dealing_order("a curation", [50] * 10)
    turns = [tuple(bin_ for bin_, _ in rounds[begin : begin + 10]) for begin in range(0, 500, 10)]
    assert all(sorted(turn) == list(range(10)) for turn in turns)
    # Nobody learns the score from the turn.
    assert len(set(turns)) > 40
