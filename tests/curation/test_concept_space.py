"""Concepts by their embeddings, against what comparing everything with everything says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation import concept_space
from cocu.curation.archives import NO_NEIGHBOUR


def unit(count: int, seed: int = 0, dimensions: int = 16) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 7, 3000])
@pytest.mark.parametrize("limit", [1, 20, 5000])
def test_nearest__is_the_order_of_all_cosines(count: int, limit: int) -> None:
    concepts_VD, query_D = unit(count), 7 * unit(1, seed=9)[0]
    numbers_K, cosines_K = concept_space.nearest(concepts_VD, query_D, limit=limit)
    exact_V = concepts_VD.astype(np.float64) @ (query_D.astype(np.float64) / np.linalg.norm(query_D))
    assert numbers_K.tolist() == np.argsort(-exact_V, kind="stable")[:limit].tolist()
    np.testing.assert_allclose(cosines_K, exact_V[numbers_K], atol=1e-6)


def test_nearest__ties_are_by_number_and_a_zero_vector_is_near_to_nothing() -> None:
    same_VD = np.repeat(unit(1), 5, axis=0)
    assert concept_space.nearest(same_VD, same_VD[0], limit=3)[0].tolist() == [0, 1, 2]
    numbers_K, cosines_K = concept_space.nearest(same_VD, np.zeros(16, np.float32), limit=2)
    assert (numbers_K.tolist(), cosines_K.tolist()) == ([0, 1], [0.0, 0.0])


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True))
def test_cosines__depend_on_the_two_vectors_alone(numbers: list[int]) -> None:
    concepts_VD, query_D = unit(100), unit(1, seed=3)[0]
    together = concept_space.cosines(concepts_VD, np.arange(100), query_D)[numbers]
    assert concept_space.cosines(concepts_VD, np.array(numbers), query_D).tolist() == together.tolist()


def test_nearest_each__is_the_best_of_all() -> None:
    concepts_VD, queries_PD = unit(50), unit(2500, seed=1)
    numbers_P, cosines_P = concept_space.nearest_each(concepts_VD, queries_PD)
    assert numbers_P.tolist() == (queries_PD @ concepts_VD.T).argmax(axis=1).tolist()
    np.testing.assert_allclose(cosines_P, (queries_PD @ concepts_VD.T).max(axis=1), atol=1e-6)
    assert concept_space.nearest_each(concepts_VD, queries_PD[:0])[0].shape == (0,)


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 10))
def test_pairs__are_there_once_from_whichever_end(count: int, listed: int, seed: int) -> None:
    concepts_VD = unit(count, seed)
    random = np.random.default_rng(seed)
    neighbours_VL = random.integers(0, count, (count, listed))
    neighbours_VL[neighbours_VL == np.arange(count)[:, None]] = NO_NEIGHBOUR
    first_P, second_P, cosines_P = concept_space.pairs(neighbours_VL, concepts_VD)
    expected = {
        (min(own, other), max(own, other))
        for own, row in enumerate(neighbours_VL.tolist())
        for other in row
        if other != NO_NEIGHBOUR
    }
    found = list(zip(first_P.tolist(), second_P.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert cosines_P.tolist() == sorted(cosines_P.tolist(), reverse=True)
    exact_P = (concepts_VD[first_P] * concepts_VD[second_P]).sum(axis=1)
    np.testing.assert_allclose(cosines_P, exact_P, atol=1e-6)
