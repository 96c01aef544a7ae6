"""Statistics of a dataset: equal to the naive computation, whatever the shards."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

from cocu.curation.archives import Mentions
from cocu.curation.statistics import Calibration, Statistics


def _dataset(count: int, *, concepts: int = 7, dimension: int = 5, seed: int = 0):
    generator = np.random.default_rng(seed)
    images_ND = generator.normal(size=(count, dimension)) + 0.5
    images_ND /= np.linalg.norm(images_ND, axis=1, keepdims=True)
    named = [np.flatnonzero(generator.random(concepts) < 0.3) for _ in range(count)]
    return images_ND.astype(np.float16), named


def _mentions(named) -> Mentions:
    concepts_M = np.concatenate([*named, np.empty(0, np.int64)]).astype(np.int32)
    offsets_N1 = np.concatenate([[0], np.cumsum([len(own) for own in named])]).astype(np.int64)
    return Mentions(
        offsets_N1=offsets_N1, concepts_M=concepts_M, similarities_M=np.zeros(len(concepts_M), np.float32)
    )


def _statistics(images_ND, named) -> Statistics:
    return Statistics.of_shard(mentions=_mentions(named), images_ND=images_ND, concept_count=7)


@pytest.mark.parametrize("cuts", [[], [10], [1, 2, 2, 30]])
def test_parts_of_shards_add_up_to_the_naive_statistics(cuts):
    images_ND, named = _dataset(60)
    bounds = [0, *cuts, 60]
    parts = [_statistics(images_ND[a:b], named[a:b]) for a, b in itertools.pairwise(bounds)]
    whole = Statistics.merge(parts)
    wide_ND = images_ND.astype(np.float64)
    assert whole.count == 60
    for concept in range(7):
        assert whole.concept_counts_V[concept] == sum(concept in own for own in named)
    similarity_NN = wide_ND @ wide_ND.T
    chance = (similarity_NN.sum() - np.trace(similarity_NN)) / (60 * 59)
    assert whole.chance_similarity == pytest.approx(chance, abs=1e-12)
    concepts_VD = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    mean_V, deviation_V = whole.concept_moments(concepts_VD)
    cosines_NV = wide_ND @ concepts_VD.astype(np.float64).T
    np.testing.assert_allclose(mean_V, cosines_NV.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(deviation_V, cosines_NV.std(axis=0), atol=1e-9)


def test_the_same_parts_give_the_same_bits():
    images_ND, named = _dataset(50)
    parts = [_statistics(images_ND[a : a + 10], named[a : a + 10]) for a in range(0, 50, 10)]
    first, second = Statistics.merge(parts), Statistics.merge(parts)
    assert first.image_products_DD.tobytes() == second.image_products_DD.tobytes()


def test_survives_a_file_without_pickle():
    images_ND, named = _dataset(20)
    calibration = Calibration(sharpness=4.0, intercept=-0.5, prior=1.25, neighbours=0.75, encoder=0.3)
    statistics = _statistics(images_ND, named).with_calibration(calibration)
    file = io.BytesIO()
    np.savez(file, **statistics.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = Statistics.from_arrays(arrays)
    assert again.calibration == calibration
    assert again.count == 20
    np.testing.assert_array_equal(again.concept_counts_V, statistics.concept_counts_V)
    np.testing.assert_array_equal(again.image_products_DD, statistics.image_products_DD)


@pytest.mark.parametrize("count", [0, 1])
def test_datasets_without_pairs_have_chance_similarity_zero(count):
    images_ND, named = _dataset(count)
    statistics = _statistics(images_ND, named)
    assert statistics.chance_similarity == 0.0
    _, deviation_V = statistics.concept_moments(np.ones((7, 5), np.float32))
    np.testing.assert_array_equal(deviation_V, np.zeros(7))


def test_identical_images_do_not_deviate():
    images_ND, _ = _dataset(1)
    statistics = _statistics(np.repeat(images_ND, 500, axis=0), [np.empty(0, np.int64)] * 500)
    _, deviation_V = statistics.concept_moments(
        np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    )
    np.testing.assert_array_equal(deviation_V, np.zeros(7))


def test_refuses_what_does_not_belong_together():
    images_ND, named = _dataset(5)
    with pytest.raises(ValueError, match="row for each of the 5 samples"):
        _statistics(images_ND[:4], named)
    with pytest.raises(ValueError, match=r"outside 0\.\.0"):
        Statistics.of_shard(mentions=_mentions([np.array([1])]), images_ND=images_ND[:1], concept_count=1)
    with pytest.raises(ValueError, match="nothing to merge"):
        Statistics.merge([])
    other = Statistics.of_shard(mentions=_mentions(named), images_ND=images_ND[:, :4], concept_count=7)
    with pytest.raises(ValueError, match="different vocabularies or encoders"):
        Statistics.merge([_statistics(images_ND, named), other])
    with pytest.raises(ValueError, match="columns"):
        _statistics(images_ND, named).concept_moments(np.ones((7, 4), np.float32))
    with pytest.raises(ValueError, match="calibration"):
        Statistics.from_arrays({"count": np.array(1)})
