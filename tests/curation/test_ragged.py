"""Compressed rows against lists of lists."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.ragged import offsets_of, owners, take

lists_of_lists = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=8)


@given(lists=lists_of_lists, seed=st.integers(0, 1000))
def test_taking_lists_equals_indexing_them(lists: list[list[int]], seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(lists), 6)
    flat = np.array([element for part in lists for element in part])
    offsets, positions = take(offsets_of(np.array([len(part) for part in lists])), chosen)
    selected = [flat[positions[start:end]].tolist() for start, end in itertools.pairwise(offsets)]
    assert selected == [lists[number] for number in chosen]


@given(lists=lists_of_lists)
def test_every_element_knows_its_list(lists: list[list[int]]) -> None:
    list_numbers = owners(offsets_of(np.array([len(part) for part in lists])))
    assert list_numbers.tolist() == [number for number, part in enumerate(lists) for _ in part]
