"""Randomness by name: pure, pinned, and even by the tests that a bad mixing fails."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from cocu.curation.randomness import (
    Seeds,
    key_hashes,
    nth,
    numbers,
    permutation,
    seed_of,
    seeds_of,
    uniforms,
)

KEYS = [f"{number:09d}" for number in range(20_000)]
"""Keys that are as similar to each other as keys can be."""

HASHES = key_hashes(KEYS)


def bits(values: Seeds) -> np.ndarray:
    """[N] uint64 as [N, 64] zeros and ones."""
    return np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")


def splitmix(state: int) -> int:
    """SplitMix64 as published, with numbers that do not wrap by themselves."""
    mask = 2**64 - 1
    value = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & mask
    return value ^ (value >> 31)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**64 - 1), start=st.integers(0, 2**40))
def test_numbers__are_those_of_splitmix64(seed: int, start: int) -> None:
    step, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    expected = [splitmix((seed + (start + index + 1) * step) & mask) for index in range(3)]
    assert numbers(seed, 3, start=start).tolist() == expected
    assert nth(seed, start + 2) == expected[2]
    first = uniforms(np.array([seed], np.uint64), 1)[0, 0]
    assert first == (numbers(seed, 1)[0] >> np.uint64(11)) / 2**53


def test_a_seed_depends_on_its_context_and_key_alone() -> None:
    context = ("concepts", "hash", 0, 1)
    together = seeds_of(context, key_hashes(["a", "b", "köln"]))
    assert seeds_of(context, key_hashes(["köln"])) == together[2]
    others = [
        context,
        ("templates", "hash", 0, 1),
        ("concepts", "hash", 1, 0),
        ("concepts", "hash0", 1),
        ("concepts", "other", 0, 1),
    ]
    seeds = [seeds_of(names, key_hashes(["a", "b"])).tolist() for names in others]
    assert len(set(itertools.chain(*seeds))) == 2 * len(others)
    assert seed_of("a", "bc") != seed_of("ab", "c")


def test_is_the_same_on_every_machine() -> None:
    """Pinned: a trainer must be able to resume an epoch after an upgrade."""
    assert seed_of("a", 1) == SEED
    assert seeds_of(("c", 1), key_hashes(["dog", "köln"])).tolist() == SEEDS
    assert permutation(7, 6).tolist() == PERMUTATION


def test_seeds__have_every_bit_even_and_independent_of_every_other() -> None:
    ones = bits(seeds_of(("concepts", "h", 0, 0), HASHES)).astype(np.float64) * 2 - 1
    limit = 6 / math.sqrt(len(KEYS))
    assert np.abs(ones.mean(axis=0)).max() < limit
    correlations = ones.T @ ones / len(KEYS) - np.eye(64)
    assert np.abs(correlations).max() < limit


@pytest.mark.parametrize(
    "other", [("concepts", "h", 0, 1), ("concepts", "h", 1, 0), ("templates", "h", 0, 0)]
)
def test_seeds__of_two_contexts_are_independent(other: tuple[str | int, ...]) -> None:
    """Bit by bit, and every bit against every other one: a context must not only shift or flip."""
    first = bits(seeds_of(("concepts", "h", 0, 0), HASHES)).astype(np.float64) * 2 - 1
    two = bits(seeds_of(other, HASHES)).astype(np.float64) * 2 - 1
    assert np.abs(first.T @ two / len(KEYS)).max() < 6 / math.sqrt(len(KEYS))


def test_seeds__differ_between_contexts_by_differences_that_do_not_repeat() -> None:
    first, second = (seeds_of(("concepts", "h", 0, epoch), HASHES) for epoch in (0, 1))
    assert len(np.unique(first ^ second)) == len(np.unique(first - second)) == len(KEYS)


@pytest.mark.parametrize("place", [0, 1, 5])
def test_uniforms__are_uniform_over_keys_and_over_epochs(place: int) -> None:
    over_keys = uniforms(seeds_of(("concepts", "h", 0, 0), HASHES), 6)[:, place]
    assert kstest(over_keys, "uniform").pvalue > 1e-4
    single_hash = HASHES[:1]
    over_epochs = [
        uniforms(seeds_of(("concepts", "h", 0, epoch), single_hash), 6)[0, place] for epoch in range(5000)
    ]
    assert kstest(over_epochs, "uniform").pvalue > 1e-4


def test_uniforms__of_a_seed_and_of_epochs_are_independent_pairs() -> None:
    epoch = uniforms(seeds_of(("concepts", "h", 0, 0), HASHES), 2)
    next_epoch = uniforms(seeds_of(("concepts", "h", 0, 1), HASHES), 1)
    for first, second in (
        (epoch[:, 0], epoch[:, 1]),
        (epoch[:, 0], next_epoch[:, 0]),
        (epoch[:-1, 0], epoch[1:, 0]),
    ):
        cells, _, _ = np.histogram2d(first, second, bins=16, range=[[0, 1], [0, 1]])
        assert chisquare(cells.reshape(-1)).pvalue > 1e-4


def test_permutations__are_all_alike() -> None:
    """All orders of four elements are equally frequent."""
    permutations = [tuple(permutation(seed_of("order", number), 4).tolist()) for number in range(12_000)]
    counts = [permutations.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == len(permutations)
    assert chisquare(counts).pvalue > 1e-4


@given(seed=st.integers(0, 2**64 - 1), count=st.integers(0, 300))
@settings(deadline=None, max_examples=50)
def test_permutation__is_one(seed: int, count: int) -> None:
    assert sorted(permutation(seed, count).tolist()) == list(range(count))


SEED = 10192193161502257503
SEEDS = [15015364504247720021, 2272917362898352094]
PERMUTATION = [5, 0, 3, 4, 2, 1]
