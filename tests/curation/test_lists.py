"""Compressed rows against lists of lists, and the sort that compiled loops use."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.lists import offsets_of, owners, take
from cocu.curation.sorting import sort_keys

lists_of_lists = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=8)


@given(lists=lists_of_lists, seed=st.integers(0, 1000))
def test_taking_lists_equals_indexing_them(lists: list[list[int]], seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(lists), 6)
    flat = np.array([element for part in lists for element in part])
    offsets, positions = take(offsets_of(np.array([len(part) for part in lists])), chosen)
    taken = [flat[positions[start:end]].tolist() for start, end in itertools.pairwise(offsets)]
    assert taken == [lists[number] for number in chosen]


@given(lists=lists_of_lists)
def test_every_element_knows_its_list(lists: list[list[int]]) -> None:
    found = owners(offsets_of(np.array([len(part) for part in lists])))
    assert found.tolist() == [number for number, part in enumerate(lists) for _ in part]


@settings(deadline=None)
@given(keys=st.lists(st.integers(-(2**62), 2**62), max_size=200), rest=st.integers(0, 3))
def test_sorting_the_first_keys_leaves_the_rest(keys: list[int], rest: int) -> None:
    array = np.array([*keys, *[-5] * rest], np.int64)
    sort_keys(array, np.empty_like(array), len(keys))
    assert array.tolist() == [*sorted(keys), *[-5] * rest]
