"""Draws of concepts: the reference's numbers, exact probabilities met, and purity."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tests.curation.draw_probabilities import draw_probabilities, sequence_probabilities

from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION, Archives
from cocu.curation.sampling import NO_CONCEPT, SAMPLERS, draw_concepts

EXAMPLE = [("dog", 2.0, 0), ("man", 1.815439, 1), ("woman", 1.788018, 1), ("grass", 1.119165, 0)]


def _archives(*images) -> Archives:
    """One list of (concept, score, cluster) per image, best first; the captions name them all."""
    flat = [entry for image in images for entry in image]
    count = len(flat)
    return Archives(
        offsets_B1=np.cumsum([0, *(len(image) for image in images)], dtype=np.int64),
        concepts_C=np.array([concept for concept, _, _ in flat], dtype=np.int32),
        scores_C=np.array([score for _, score, _ in flat], dtype=np.float32),
        global_C=np.zeros(count, np.float32),
        local_C=np.zeros(count, np.float32),
        clusters_C=np.array([cluster for _, _, cluster in flat], dtype=np.int32),
        origin_offsets_C1=np.arange(count + 1),
        origins_O=np.full(count, OWN_CAPTION, np.int32),
    )


def _example() -> list[tuple[int, float, int]]:
    return [(position, score, cluster) for position, (_, score, cluster) in enumerate(EXAMPLE)]


def _draws(image, keys, **parameters):
    arguments = {"curation_hash": "c", "seed": 0, "epoch": 0, **parameters}
    return draw_concepts(_archives(*([image] * keys)), [f"key{k}" for k in range(keys)], **arguments)


def test_the_probabilities_of_the_worked_example():
    scores_C = np.array([score for _, score, _ in EXAMPLE])
    clusters_C = np.array([cluster for _, _, cluster in EXAMPLE])
    first = sequence_probabilities(scores_C, clusters_C, count=1, replacement=True)
    # dog, man, woman, grass
    np.testing.assert_allclose(
        [first[(p,)] for p in range(4)], [0.310906, 0.283962, 0.276281, 0.128851], atol=1e-6
    )
    assert first[(0,)] + first[(3,)] == pytest.approx(0.439758, abs=1e-6)
    three = sequence_probabilities(scores_C, clusters_C, count=3, replacement=True)
    different = sum(chance for drawn, chance in three.items() if len(set(drawn)) == 3)
    assert different == pytest.approx(0.341664, abs=1e-6)
    assert sum(three.values()) == pytest.approx(1.0)


def test_draw_probabilities_of_many_archives():
    archives = _archives(_example(), [], [(7, 0.5, NO_CLUSTER), (9, 0.1, NO_CLUSTER)])
    np.testing.assert_allclose(
        draw_probabilities(archives), [0.310906, 0.283962, 0.276281, 0.128851, 1.0, 0.0], atol=1e-6
    )
    np.testing.assert_allclose(draw_probabilities(archives, sampler="uniform"), [0.25] * 4 + [0.5] * 2)


LONGER = [(0, 2.0, 0), (1, 1.5, 1), (2, 1.2, 0), (3, 0.3, 2), (4, -0.5, 1)]


@pytest.mark.parametrize("image", [_example(), LONGER], ids=["example", "longer"])
@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize(("sampler", "temperature"), [("cluster", 1.0), ("cluster", 0.4), ("uniform", 1.0)])
def test_draws_have_the_exact_probabilities(image, sampler, temperature, replacement):
    expected = sequence_probabilities(
        np.array([score for _, score, _ in image]),
        np.array([cluster for _, _, cluster in image]),
        count=3,
        temperature=temperature,
        sampler=sampler,
        replacement=replacement,
    )
    draws = 40_000
    drawn = _draws(image, draws, sampler=sampler, temperature=temperature, replacement=replacement)
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(expected)
    common = {drawn: chance for drawn, chance in expected.items() if chance * draws >= 5}
    observed = [counts[drawn] for drawn in common]
    observed.append(draws - sum(observed))
    chances = [*common.values(), 1.0 - sum(common.values())]
    if chances[-1] * draws < 5:
        observed, chances = observed[:-1], chances[:-1]
    chances = np.array(chances) / sum(chances)
    assert chisquare(observed, chances * sum(observed)).pvalue > 1e-4


def test_what_is_left_is_drawn_by_its_scores_when_the_best_outweighs_it_beyond_measure():
    """The weights beside the best are 0 in floating point; once it is drawn, they must count again."""
    image = [(0, 5000.0, 0), (1, 4000.0, 1), (2, 1.0, 0), (3, 0.0, 0), (4, -500.0, 1), (5, -500.5, 1)]
    drawn = _draws(image, 20_000, count=4)
    assert (drawn[:, :2] == [0, 1]).all(), "each cluster's best outweighs the rest of it"
    third, fourth = ((drawn[:, 2:] == concept).sum() / len(drawn) for concept in (2, 4))
    assert third == pytest.approx(1 / (1 + np.exp(-1)), abs=0.02)
    assert fourth == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.02)


def test_without_replacement_clusters_come_round_before_any_is_used_again():
    for drawn in _draws(LONGER, 300, count=5):
        assert sorted(drawn) == [0, 1, 2, 3, 4]
        assert {LONGER[concept][2] for concept in drawn[:3]} == {0, 1, 2}


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_short_archive_is_padded(sampler):
    drawn = draw_concepts(
        _archives([], [(5, 1.0, NO_CLUSTER)], [(5, 1.0, 0), (6, 0.5, 1), (7, 0.1, 0)]),
        ["a", "b", "c"],
        curation_hash="c",
        seed=1,
        epoch=0,
        count=4,
        sampler=sampler,
    )
    assert drawn.dtype == np.int32
    assert drawn[0].tolist() == [NO_CONCEPT] * 4
    assert drawn[1].tolist() == [5] + [NO_CONCEPT] * 3
    assert sorted(drawn[2, :3]) == [5, 6, 7]
    assert drawn[2, 3] == NO_CONCEPT


def test_the_caption_sampler_draws_evenly_what_the_caption_names_and_nothing_else():
    archives = replace(
        _archives(*[LONGER] * 6000),
        # Concepts 1, 2 and 4 of each come from the own caption, 4 from a neighbour as well.
        origin_offsets_C1=np.append((np.arange(6000)[:, None] * 6 + [0, 1, 2, 3, 4]).ravel(), 36_000),
        origins_O=np.tile(np.array([0, -1, -1, 3, -1, 2], np.int32), 6000),
    )
    keys = [f"key{number}" for number in range(6000)]
    arguments = {"curation_hash": "c", "seed": 0, "epoch": 0, "sampler": "caption"}
    two = draw_concepts(archives, keys, count=2, **arguments)
    counts = Counter(map(tuple, two.tolist()))
    scores_C, clusters_C = np.array([entry[1] for entry in LONGER]), np.array([entry[2] for entry in LONGER])
    named_C = np.array([False, True, True, False, True])
    expected = sequence_probabilities(scores_C, clusters_C, named_C, count=2, sampler="caption")
    assert expected == dict.fromkeys(itertools.permutations((1, 2, 4), 2), pytest.approx(1 / 6))
    assert set(counts) == set(expected)
    assert chisquare(list(counts.values())).pvalue > 1e-4
    four = draw_concepts(archives, keys, count=4, **arguments)
    assert (np.sort(four, axis=1) == [NO_CONCEPT, 1, 2, 4]).all()
    assert (four[:, 3] == NO_CONCEPT).all()
    assert (four[:, :2] == two).all()


def test_no_archive_has_any_concept():
    assert (
        draw_concepts(_archives([], []), ["a", "b"], curation_hash="c", seed=0, epoch=0) == NO_CONCEPT
    ).all()


def test_top_k_and_archives_without_clusters_give_the_best():
    unclustered = [(9, 3.0, NO_CLUSTER), (2, 2.0, NO_CLUSTER), (4, 1.0, NO_CLUSTER), (1, 0.0, NO_CLUSTER)]
    assert (_draws(LONGER, 20, sampler="topk") == [0, 1, 2]).all()
    assert (_draws(unclustered, 20) == [9, 2, 4]).all()


def test_a_low_temperature_draws_the_best_cluster_and_its_best_concept():
    assert (_draws(_example(), 50, count=2, temperature=0.001) == [1, 0]).all()


@settings(deadline=None, max_examples=50)
@given(
    keys=st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True),
    sampler=st.sampled_from(sorted(SAMPLERS)),
    data=st.data(),
)
def test_a_samples_draw_does_not_depend_on_its_batch(keys, sampler, data):
    images = [LONGER if len(key) % 2 else _example() for key in keys]
    arguments = {"curation_hash": "c", "seed": 3, "epoch": 7, "sampler": sampler}
    together = draw_concepts(_archives(*images), keys, **arguments)
    order = data.draw(st.permutations(range(len(keys))))
    part = order[: len(keys) // 2 + 1]
    apart = draw_concepts(_archives(*(images[p] for p in part)), [keys[p] for p in part], **arguments)
    np.testing.assert_array_equal(apart, together[part])


def test_draws_change_with_curation_seed_epoch_and_key():
    base = {"curation_hash": "c", "seed": 0, "epoch": 0}
    results = [
        _draws(LONGER, 50, **{**base, **change}).tolist()
        for change in ({}, {"curation_hash": "d"}, {"seed": 1}, {"epoch": 1}, {"seed": 10, "epoch": 1})
    ]
    assert all(a != b for a, b in itertools.combinations(results, 2))
    assert len({tuple(row) for row in results[0]}) > 5


def test_draws_are_the_same_on_every_machine():
    """Pinned: a trainer must be able to resume an epoch after an upgrade."""
    assert _draws(LONGER, 4).tolist() == PINNED


PINNED = [[0, 3, 1], [1, 0, 3], [3, 2, 1], [0, 1, 3]]


def test_refuses_draws_that_there_are_not():
    for change, words in (
        ({"sampler": "best"}, "sampler must be one of cluster, topk, uniform, caption"),
        ({"count": 0}, "count must be at least 1"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "temperature must be positive"),
    ):
        with pytest.raises(ValueError, match=words):
            _draws(LONGER, 1, **change)
    with pytest.raises(ValueError, match="give one each"):
        draw_concepts(_archives(LONGER), ["a", "b"], curation_hash="c", seed=0, epoch=0)
