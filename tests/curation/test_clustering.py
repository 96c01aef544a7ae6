"""Clusters: as many as asked for, as good as scikit-learn's, and a function of the archive alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from cocu.curation.archives import NO_CLUSTER
from cocu.curation.clustering import LONGEST_CLUSTERED, cluster, inertia
from cocu.curation.ragged import offsets_of

VOCABULARY = 600


def embeddings(seed: int, dim: int = 64) -> np.ndarray:
    """Unit vectors with a common part, in groups of about five related ones."""
    generator = np.random.default_rng(seed)
    group = generator.standard_normal((VOCABULARY // 5, dim))[generator.permutation(VOCABULARY) // 5]
    vectors = 3 * generator.standard_normal(dim) + 1.5 * group + generator.standard_normal((VOCABULARY, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


CONCEPTS_VD = embeddings(0)


def archives_of(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    parts = [generator.choice(VOCABULARY, length, replace=False) for length in lengths]
    return offsets_of(np.array(lengths, np.int64)), np.concatenate([*parts, []]).astype(np.int32)


def as_sets(clusters: np.ndarray, concepts: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(concepts[clusters == number].tolist()) for number in set(clusters.tolist())}


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 40), max_size=12), seed=st.integers(0, 2**64 - 1))
def test_every_archive_gets_half_as_many_clusters_numbered_by_appearance(
    lengths: list[int], seed: int
) -> None:
    offsets, concepts = archives_of(lengths)
    clusters = cluster(concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts, seed=seed)
    for start, end in itertools.pairwise(offsets):
        part = clusters[start:end]
        if end - start <= 2:
            assert np.all(part == NO_CLUSTER)
        else:
            first = list(dict.fromkeys(part.tolist()))
            assert first == list(range((end - start + 1) // 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_inertia_is_within_one_percent_of_scikit_learn(seed: int) -> None:
    vectors = embeddings(seed)
    lengths = np.random.default_rng(seed).integers(3, 45, 60).tolist()
    offsets, concepts = archives_of(lengths, seed)
    clusters = cluster(concepts_VD=vectors, offsets_B1=offsets, concepts_C=concepts)
    ours = inertia(concepts_VD=vectors, offsets_B1=offsets, concepts_C=concepts, clusters_C=clusters)
    theirs = [
        KMeans((end - start + 1) // 2, n_init=5, random_state=0)
        .fit(vectors[concepts[start:end]].astype(np.float64))
        .inertia_
        for start, end in itertools.pairwise(offsets)
    ]
    assert ours.mean() <= 1.01 * np.mean(theirs)


def test_inertia_equals_the_definition_of_scikit_learn() -> None:
    offsets, concepts = archives_of([12])
    points = CONCEPTS_VD[concepts].astype(np.float64)
    kmeans = KMeans(6, n_init=1, random_state=0).fit(points)
    inertia_B = inertia(
        concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts, clusters_C=kmeans.labels_
    )
    assert inertia_B[0] == pytest.approx(kmeans.inertia_, rel=1e-6)


def test_no_single_move_lowers_the_inertia() -> None:
    offsets, concepts = archives_of([17], seed=4)
    clusters = cluster(concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts)

    def reached(labels: np.ndarray) -> float:
        return float(
            inertia(concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts, clusters_C=labels)[0]
        )

    for point in range(17):
        if np.sum(clusters == clusters[point]) > 1:
            for number in range(9):
                moved = clusters.copy()
                moved[point] = number
                assert reached(moved) >= reached(clusters) - 1e-6


def test_the_worked_example_reaches_the_better_split() -> None:
    concepts = np.array([[0.48, 0.6, 0.64, 0], [0, 0.6, 0.8, 0], [0.8, 0, 0.6, 0], [0.6, 0, 0, 0.8]])
    inputs = {
        "concepts_VD": concepts,
        "offsets_B1": np.array([0, 4]),
        "concepts_C": np.arange(4, dtype=np.int32),
    }
    clusters = cluster(**inputs)
    assert clusters.tolist() == [0, 0, 0, 1]
    assert inertia(**inputs, clusters_C=clusters)[0] == pytest.approx(0.586667, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    shuffle=st.integers(0, 1000),
)
def test_an_archive_is_clustered_the_same_in_any_order_and_any_company(
    lengths: list[int], seed: int, shuffle: int
) -> None:
    offsets, concepts = archives_of(lengths, seed)
    together = cluster(concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts, seed=seed)
    for start, end in itertools.pairwise(offsets):
        own = concepts[start:end]
        shuffled = np.random.default_rng(shuffle).permutation(own)
        alone = cluster(
            concepts_VD=CONCEPTS_VD, offsets_B1=np.array([0, len(own)]), concepts_C=shuffled, seed=seed
        )
        assert as_sets(alone, shuffled) == as_sets(together[start:end], own)


def test_another_seed_may_find_other_clusters_and_the_same_seed_never() -> None:
    offsets, concepts = archives_of([40] * 50)

    def clusters(seed: int) -> list[int]:
        return cluster(concepts_VD=CONCEPTS_VD, offsets_B1=offsets, concepts_C=concepts, seed=seed).tolist()

    assert clusters(7) == clusters(7)
    assert clusters(7) != clusters(8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_identical_and_zero_embeddings_still_fill_every_cluster(dtype: type, value: float) -> None:
    clusters = cluster(
        concepts_VD=np.full((9, 16), value, dtype),
        offsets_B1=np.array([0, 9]),
        concepts_C=np.arange(9, dtype=np.int32),
    )
    assert set(clusters.tolist()) == set(range(5))


def test_equal_concepts_share_a_cluster_where_clusters_suffice() -> None:
    pairs = np.repeat(CONCEPTS_VD[:4], 2, axis=0)
    clusters = cluster(
        concepts_VD=pairs, offsets_B1=np.array([0, 8]), concepts_C=np.arange(8, dtype=np.int32)
    )
    assert clusters.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_thousand_concepts() -> None:
    vectors = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    inputs = {
        "concepts_VD": vectors,
        "offsets_B1": np.array([0, 1000, 1003]),
        "concepts_C": np.concatenate([np.arange(1000), np.arange(3)]).astype(np.int32),
    }
    clusters = cluster(**inputs)
    theirs = KMeans(500, n_init=1, random_state=0).fit(vectors).inertia_
    assert set(clusters[:1000].tolist()) == set(range(500))
    assert inertia(**inputs, clusters_C=clusters)[0] <= 1.01 * theirs


def test_beyond_the_longest_an_archive_stays_unclustered_and_the_rest_does_not() -> None:
    count = LONGEST_CLUSTERED + 1
    clusters = cluster(
        concepts_VD=np.random.default_rng(0).standard_normal((count, 4)),
        offsets_B1=np.array([0, count, count + 3]),
        concepts_C=np.concatenate([np.arange(count), np.arange(3)]).astype(np.int32),
    )
    assert np.all(clusters[:count] == NO_CLUSTER)
    assert set(clusters[count:].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"concepts_C": np.array([0, 1, VOCABULARY], np.int32)}, f"between 0 and {VOCABULARY - 1}"),
        ({"concepts_C": np.array([0, 1, -1], np.int32)}, "between 0 and"),
        ({"offsets_B1": np.array([0, 4])}, "must ascend from 0 to the 3 concepts"),
        ({"offsets_B1": np.array([0, 4, 3])}, "must ascend"),
        ({"restarts": 0}, "restarts must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict, message: str) -> None:
    fitting = {
        "concepts_VD": CONCEPTS_VD,
        "offsets_B1": np.array([0, 3]),
        "concepts_C": np.arange(3, dtype=np.int32),
    }
    with pytest.raises(ValueError, match=message):
        cluster(**(fitting | changed))
