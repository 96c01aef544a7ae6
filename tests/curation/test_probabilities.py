"""Exact probabilities of draws: they equal the sum over all sequences of draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.curation.draw_probabilities import sequence_probabilities

from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION, Archives
from cocu.curation.probabilities import draw_probabilities, inclusion
from cocu.curation.randomness import key_hashes
from cocu.curation.sampling import SAMPLERS, draw_entries


def _archives(scores, clusters, named) -> Archives:
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    scores_C = np.asarray(scores, np.float32)[order]
    named_C = np.asarray(named, bool)[order]
    return Archives(
        offsets_B1=np.array([0, len(scores)], np.int64),
        concepts_C=np.arange(len(scores), dtype=np.int32),
        scores_C=scores_C,
        global_C=scores_C,
        local_C=scores_C,
        clusters_C=np.asarray(clusters, np.int32)[order],
        origin_offsets_C1=np.append(0, np.cumsum(named_C)).astype(np.int64),
        origins_O=np.full(named_C.sum(), OWN_CAPTION, np.int32),
    )


def _by_sequences(archives: Archives, named_C, **parameters):
    first_C, inclusion_C = np.zeros(len(named_C)), np.zeros(len(named_C))
    for sequence, chance in sequence_probabilities(
        archives.scores_C, archives.clusters_C, named_C, **parameters
    ).items():
        first_C[sequence[0]] += chance
        inclusion_C[list(sequence)] += chance
    return first_C, inclusion_C


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_probabilities_are_the_sum_over_all_sequences(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.floats(-8, 8), min_size=size, max_size=size))
    # Clusters are numbered without gaps.
    labels = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    clusters = [sorted(set(labels)).index(label) for label in labels]
    if data.draw(st.booleans()):
        clusters = [NO_CLUSTER] * size
    archives = _archives(scores, clusters, data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    named_C = np.diff(archives.origin_offsets_C1) > 0
    parameters = {
        "count": data.draw(st.integers(1, 7)),
        "temperature": data.draw(st.sampled_from([0.05, 0.5, 1.0, 3.0])),
        "sampler": data.draw(st.sampled_from(sorted(SAMPLERS))),
    }
    first_C, inclusion_C = _by_sequences(archives, named_C, **parameters)
    exact = draw_probabilities(archives, **parameters)
    np.testing.assert_allclose(exact.first_C, first_C, atol=1e-12)
    np.testing.assert_allclose(exact.inclusion_C, inclusion_C, atol=1e-11)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60),
    st.integers(1, 64),
    st.sampled_from([1e-3, 1.0, 1e6]),
)
def test_inclusion_adds_up_to_the_number_of_draws(exponents, count, scale) -> None:
    probability_N = inclusion(np.array(exponents) / scale, count)
    assert probability_N.min() >= 0.0
    assert probability_N.max() <= 1.0
    assert probability_N.sum() == pytest.approx(min(count, len(exponents)), abs=1e-9)
    # A larger weight never has a smaller chance.
    assert (np.diff(probability_N[np.argsort(exponents, kind="stable")]) >= -1e-9).all()


@pytest.mark.parametrize(("entries", "count"), [(40, 7), (60, 49), (300, 240), (300, 1), (301, 300)])
def test_equal_weights_have_equal_chances(entries: int, count: int) -> None:
    """Most others arrive at about the same time, where the integral needs the most nodes."""
    np.testing.assert_allclose(inclusion(np.full(entries, 700.0), count), count / entries, atol=1e-12)


def test_large_archives_are_drawn_as_often_as_said() -> None:
    """Sequences of 40 concepts are too many to sum; the draws of many keys are counted."""
    source = np.random.default_rng(4)
    clusters = source.integers(0, 9, 40)
    archives = _archives(source.normal(0, 1.5, 40), clusters, np.zeros(40, bool))
    keys, count = 40_000, 12
    many = Archives(
        offsets_B1=np.arange(keys + 1) * 40,
        concepts_C=np.tile(archives.concepts_C, keys),
        scores_C=np.tile(archives.scores_C, keys),
        global_C=np.tile(archives.scores_C, keys),
        local_C=np.tile(archives.scores_C, keys),
        clusters_C=np.tile(archives.clusters_C, keys),
        origin_offsets_C1=np.zeros(40 * keys + 1, np.int64),
        origins_O=np.zeros(0, np.int32),
    )
    entries_BK = draw_entries(
        many,
        key_hashes([f"key{number}" for number in range(keys)]),
        curation_hash="c",
        seed=0,
        epoch=0,
        count=count,
    )
    exact = draw_probabilities(archives, count=count)
    drawn_C = np.bincount((entries_BK % 40).ravel(), minlength=40) / keys
    first_C = np.bincount(entries_BK[:, 0] % 40, minlength=40) / keys
    for observed_C, exact_C in ((drawn_C, exact.inclusion_C), (first_C, exact.first_C)):
        deviation_C = np.sqrt(np.maximum(exact_C * (1 - exact_C), 1e-6) / keys)
        assert (np.abs(observed_C - exact_C) < 5 * deviation_C).all()


def test_refuses_parameters_that_no_draw_has() -> None:
    archives = _archives([1.0], [NO_CLUSTER], [True])
    with pytest.raises(ValueError, match="sampler must be one of"):
        draw_probabilities(archives, count=1, sampler="best")
    with pytest.raises(ValueError, match="count must be at least 1"):
        draw_probabilities(archives, count=0)
