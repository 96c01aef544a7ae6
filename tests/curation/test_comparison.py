"""Comparing curations: what must hold for any two, and figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from cocu.curation.comparison import Comparison, Ranked, combine, compare
from cocu.curation.ragged import offsets_of

CONCEPTS = 8
archives = st.lists(st.permutations(range(CONCEPTS)).flatmap(
    lambda order: st.integers(0, CONCEPTS).map(lambda length: order[:length])
), min_size=1, max_size=6)  # fmt: skip
pairs = st.integers(1, 6).flatmap(
    lambda images: st.tuples(*[archives.map(lambda lists: (lists * images)[:images])] * 2)
)


def ranked(lists: list[list[int]]) -> Ranked:
    offsets = offsets_of(np.array([len(concepts) for concepts in lists], np.int64))
    return Ranked(offsets, np.array([concept for concepts in lists for concept in concepts], np.int32))


def compared(first: list[list[int]], second: list[list[int]]) -> Comparison:
    return compare(ranked(first), ranked(second), concepts=CONCEPTS)


@given(lists=archives)
def test_nothing_has_changed_between_a_curation_and_itself(lists: list[list[int]]) -> None:
    same = compared(lists, lists)
    assert not same.change_B.any()
    assert not any(array.any() for array in (same.gained_B, same.lost_B, same.gained_V, same.lost_V))
    assert same.shared_B.tolist() == [len(array) for array in lists]
    several = same.shared_B > 1
    assert (same.correlation_B[several] == 1).all()
    assert np.isnan(same.correlation_B[~several]).all()


@given(pair=pairs)
def test_swapping_swaps_gained_and_lost_and_nothing_else(pair: tuple[list[list[int]], ...]) -> None:
    forward, backward = compared(*pair), compared(*reversed(pair))
    np.testing.assert_array_equal(forward.change_B, backward.change_B)
    np.testing.assert_array_equal(forward.correlation_B, backward.correlation_B)
    np.testing.assert_array_equal(forward.shared_B, backward.shared_B)
    for gained, lost in (("gained_B", "lost_B"), ("gained_V", "lost_V"), ("first_V", "second_V")):
        np.testing.assert_array_equal(getattr(forward, gained), getattr(backward, lost))
        np.testing.assert_array_equal(getattr(forward, lost), getattr(backward, gained))


@settings(deadline=None)
@given(pair=pairs)
def test_every_figure_equals_the_one_from_plain_lists(pair: tuple[list[list[int]], ...]) -> None:
    comparison = compared(*pair)
    for image, (first, second) in enumerate(zip(*pair, strict=True)):
        shared = [concept for concept in first if concept in second]
        assert comparison.shared_B[image] == len(shared)
        assert comparison.gained_B[image] == len(set(second) - set(first))
        assert comparison.lost_B[image] == len(set(first) - set(second))
        assert 0 <= comparison.change_B[image] <= 1
        assert (comparison.change_B[image] == 0) == (first == second)
        assert (comparison.change_B[image] == 1) == (not shared and first != second)
        if len(shared) > 1:
            expected = spearmanr(
                [first.index(concept) for concept in shared], [second.index(concept) for concept in shared]
            )
            assert comparison.correlation_B[image] == pytest.approx(expected.statistic)
    for concept in range(CONCEPTS):
        before = [concept in archive for archive in pair[0]]
        after = [concept in archive for archive in pair[1]]
        assert comparison.first_V[concept] == sum(before)
        assert comparison.second_V[concept] == sum(after)
        assert comparison.gained_V[concept] == sum(b and not a for a, b in zip(before, after, strict=True))
        assert comparison.lost_V[concept] == sum(a and not b for a, b in zip(before, after, strict=True))


@given(pair=pairs, split=st.integers(0, 6))
def test_shards_combined_are_the_whole(pair: tuple[list[list[int]], ...], split: int) -> None:
    first, second = pair
    parts = [compared(first[:split], second[:split]), compared(first[split:], second[split:])]
    whole, put_together = compared(first, second), combine(parts)
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(whole, name), getattr(put_together, name))


def test_a_change_at_the_top_weighs_more_than_one_at_the_end() -> None:
    comparison = compared([[0, 1, 2, 3]] * 3, [[4, 1, 2, 3], [0, 1, 2, 4], [0, 1, 3, 2]])
    # Lists of four end at place five: 4 + 4 of 20 for the first concept replaced, 1 + 1 for the last.
    assert comparison.change_B.tolist() == [8 / 20, 2 / 20, 2 / 20]
    assert comparison.correlation_B.tolist() == [1, 1, 0.8]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 archives against 1"):
        compared([[0], [1]], [[0]])
    with pytest.raises(ValueError, match="not among the 8"):
        compared([[8]], [[0]])
    with pytest.raises(ValueError, match="twice"):
        compared([[0, 0]], [[0]])
    with pytest.raises(ValueError, match="nothing to combine"):
        combine([])
