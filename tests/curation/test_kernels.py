"""The sort that compiled loops use."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.kernels import sort_keys


@settings(deadline=None)
@given(keys=st.lists(st.integers(-(2**62), 2**62), max_size=200), rest=st.integers(0, 3))
def test_sorting_the_first_keys_leaves_the_rest(keys: list[int], rest: int) -> None:
    array = np.array([*keys, *[-5] * rest], np.int64)
    sort_keys(array, np.empty_like(array), len(keys))
    assert array.tolist() == [*sorted(keys), *[-5] * rest]
