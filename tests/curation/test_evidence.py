"""The score by evidence: equal to its definition, robust where a dataset is tiny or degenerate, and learnt
from captions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.archives import NO_NEIGHBOUR, OWN_CAPTION, Mentions
from cocu.curation.calibration import calibrate, calibration_rows
from cocu.curation.evidence import TRUST_IN_CAPTIONS, neighbour_weights
from cocu.curation.expansion import expand
from cocu.curation.ranking import rank
from cocu.curation.statistics import Calibration, Statistics

WEIGHTS = Calibration(sharpness=2.0, intercept=0.3, prior=1.2, neighbours=0.8, encoder=0.4)


class Dataset:
    """N images of V things: embeddings, captions that name some of the things, and all other samples by
    similarity."""

    def __init__(self, images_ND, concepts_VD, named):
        self.images_ND = np.asarray(images_ND, np.float32)
        self.concepts_VD = np.asarray(concepts_VD, np.float32)
        offsets_N1 = np.concatenate([[0], np.cumsum([len(own) for own in named])]).astype(np.int64)
        concepts_M = np.concatenate([*named, []]).astype(np.int32)
        owners_M = np.repeat(np.arange(len(named)), np.diff(offsets_N1))
        cosines_M = np.einsum("md,md->m", self.images_ND[owners_M], self.concepts_VD[concepts_M])
        self.mentions = Mentions(offsets_N1=offsets_N1, concepts_M=concepts_M, similarities_M=cosines_M)
        self.named = [{int(c) for c in own} for own in named]
        similarity_NN = (self.images_ND @ self.images_ND.T).astype(np.float64)
        np.fill_diagonal(similarity_NN, -np.inf)
        self.neighbours_NK = np.argsort(-similarity_NN, axis=1, kind="stable")[:, :-1].astype(np.int64)
        self.similarities_NK = np.take_along_axis(similarity_NN, self.neighbours_NK, axis=1).astype(
            np.float32
        )
        self.statistics = Statistics.of_shard(
            mentions=self.mentions, images_ND=self.images_ND, concept_count=len(concepts_VD)
        )

    def near(self, neighbours):
        """The first L neighbours, padded where there are fewer."""
        pad = max(neighbours - self.neighbours_NK.shape[1], 0)
        ids = np.pad(self.neighbours_NK[:, :neighbours], ((0, 0), (0, pad)), constant_values=NO_NEIGHBOUR)
        return ids, np.pad(self.similarities_NK[:, :neighbours], ((0, 0), (0, pad)))

    def scores(self, neighbours, calibration=WEIGHTS, rows=None):
        """One dictionary per image: concept -> (score, global, local)."""
        ids_NL, similarities_NL = self.near(neighbours)
        rows = np.arange(len(self.named)) if rows is None else np.asarray(rows)
        candidates = expand(self.mentions, rows, ids_NL[rows])
        scores = rank(
            scoring="evidence",
            candidates=candidates,
            mentions=self.mentions,
            neighbours_BL=ids_NL[rows],
            images_BD=self.images_ND[rows],
            concepts_VD=self.concepts_VD,
            neighbour_similarities_BL=similarities_NL[rows],
            statistics=self.statistics.with_calibration(calibration),
        )
        bounds = candidates.offsets_B1
        return [
            {
                int(candidates.concepts_C[c]): tuple(float(part[c]) for part in scores)
                for c in range(bounds[image], bounds[image + 1])
            }
            for image in range(len(rows))
        ]

    def calibrated(self, neighbours):
        """The calibration of the whole dataset."""
        ids_NL, similarities_NL = self.near(neighbours)
        return calibrate(
            self.statistics,
            mentions=self.mentions,
            anchors_S=np.arange(len(self.named)),
            neighbours_SL=ids_NL,
            neighbour_similarities_SL=similarities_NL,
            images_SD=self.images_ND,
            concepts_VD=self.concepts_VD,
        ).calibration


def _unit(vectors):
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _world(count, *, concepts=12, dimension=16, seed=0, blind=False):
    """Images of two to five things each; captions name about half of them; a blind encoder sees only
    noise."""
    generator = np.random.default_rng(seed)
    concepts_VD = _unit(generator.normal(size=(concepts, dimension)))
    shown = [generator.choice(concepts, size=generator.integers(2, 6), replace=False) for _ in range(count)]
    noise_ND = 0.25 * generator.normal(size=(count, dimension))
    images_ND = _unit(np.stack([concepts_VD[things].sum(axis=0) for things in shown]) + noise_ND)
    named = [np.sort(things[generator.random(len(things)) < 0.5]) for things in shown]
    told_VD = _unit(generator.normal(size=(concepts, dimension))) if blind else concepts_VD
    return Dataset(images_ND, told_VD, named), shown


def _by_definition(world: Dataset, image, neighbours, weights):
    """The module's docstring, read aloud for one image."""
    count = len(world.named)
    wide_ND = world.images_ND.astype(np.float64)
    chance = np.mean([wide_ND[i] @ wide_ND[j] for i in range(count) for j in range(count) if i != j])
    near = world.neighbours_NK[image, :neighbours]
    closeness = [min(max((wide_ND[image] @ wide_ND[j] - chance) / (1 - chance), 0), 1) for j in near]
    kernel = [close**weights.sharpness for close in closeness]
    average = sum(kernel) / len(kernel)
    result = {}
    for concept in world.named[image].union(*(world.named[j] for j in near)):
        own = concept in world.named[image]
        others = sum(concept in named for row, named in enumerate(world.named) if row != image)
        rate = (others + 0.5) / count
        prior = math.log(rate / (1 - rate))
        said = sum(weight for weight, j in zip(kernel, near, strict=True) if concept in world.named[j])
        near_rate = (said + average * rate) / (sum(kernel) + average)
        support = math.log(near_rate / (1 - near_rate)) - prior
        cosines_N = wide_ND @ world.concepts_VD[concept].astype(np.float64)
        z = (cosines_N[image] - cosines_N.mean()) / cosines_N.std()
        start = TRUST_IN_CAPTIONS if own else weights.intercept + weights.prior * prior
        local = start + weights.neighbours * support
        result[concept] = (weights.encoder * z + local, weights.encoder * z, local)
    return result


@pytest.mark.parametrize("neighbours", [1, 4, 9])
def test_equals_the_definition(neighbours):
    world, _ = _world(30)
    for image, scores in enumerate(world.scores(neighbours)):
        expected = _by_definition(world, image, neighbours, WEIGHTS)
        assert scores.keys() == expected.keys()
        for concept, parts in expected.items():
            assert scores[concept] == pytest.approx(parts, abs=1e-4)


def test_an_image_is_scored_alike_in_any_company():
    world, _ = _world(40)
    together = world.scores(6)
    assert world.scores(6, rows=[17]) == [together[17]]
    assert world.scores(6, rows=[5, 39, 2]) == [together[5], together[39], together[2]]


def test_the_parts_add_up():
    world, _ = _world(40)
    for image in world.scores(6):
        for total, encoder, captions in image.values():
            assert total == pytest.approx(encoder + captions, abs=1e-6)


def test_a_concept_of_the_own_caption_outranks_a_rare_one_of_a_far_neighbour():
    world, _ = _world(60)
    for image, scores in enumerate(world.scores(8, calibration=world.calibrated(8))):
        own = [scores[concept][0] for concept in world.named[image]]
        added = [parts[0] for concept, parts in scores.items() if concept not in world.named[image]]
        assert not own or not added or max(own) > np.median(added)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_tiny_datasets_are_scored_with_finite_numbers(count):
    world, _ = _world(count)
    calibration = world.calibrated(8)
    for image in world.scores(8, calibration=calibration):
        assert all(math.isfinite(part) for parts in image.values() for part in parts)
    if count == 1:
        assert calibration == Calibration()


def test_identical_images_leave_it_to_the_captions():
    images_ND = np.repeat(_unit(np.ones((1, 4))), 12, axis=0)
    concepts_VD = _unit(np.random.default_rng(0).normal(size=(3, 4)))
    world = Dataset(images_ND, concepts_VD, [[0]] * 9 + [[1]] * 2 + [[]])
    scores = world.scores(11, calibration=world.calibrated(11))[-1]
    assert scores[0][0] > scores[1][0]
    assert all(encoder == 0.0 for _, encoder, _ in scores.values())


def test_zero_vectors_and_concepts_in_every_caption_stay_finite():
    generator = np.random.default_rng(3)
    images_ND = _unit(generator.normal(size=(10, 4)))
    images_ND[4] = 0.0
    concepts_VD = _unit(generator.normal(size=(3, 4)))
    concepts_VD[2] = 0.0
    world = Dataset(images_ND, concepts_VD, [[0, 2]] * 10)
    for image in world.scores(3, calibration=world.calibrated(3)):
        assert all(math.isfinite(part) for parts in image.values() for part in parts)


def test_neighbours_no_nearer_than_chance_say_nothing():
    ids_BL = np.array([[3, 5, NO_NEIGHBOUR]])
    similarities_BL = np.array([[0.6, 0.2, 0.9]], np.float32)
    weights_BL = neighbour_weights(ids_BL, similarities_BL, chance=0.2, sharpness=2.0)
    np.testing.assert_allclose(weights_BL, [[0.25, 0.0, 0.0]], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 0.9))
def test_the_encoders_part_does_not_depend_on_the_scale_of_its_cosines(seed, scale):
    world, _ = _world(15, seed=seed % 7)
    shrunk = Dataset(world.images_ND, scale * world.concepts_VD, [sorted(own) for own in world.named])
    for image, other in zip(world.scores(4), shrunk.scores(4), strict=True):
        for concept, parts in image.items():
            assert other[concept] == pytest.approx(parts, abs=2e-3)


def test_calibration_learns_whom_to_trust():
    seeing, shown = _world(400, seed=1)
    blind, _ = _world(400, seed=1, blind=True)
    assert seeing.calibrated(8).encoder > 3 * blind.calibrated(8).encoder
    assert seeing.calibrated(8) == seeing.calibrated(8)

    def mean_rank_of_unnamed(world, calibration):
        ranks = []
        for image, scores in enumerate(world.scores(8, calibration=calibration)):
            added = sorted((c for c in scores if c not in world.named[image]), key=lambda c: -scores[c][0])
            ranks += [added.index(c) for c in shown[image] if c in added]
        return np.mean(ranks)

    distrusting = Calibration(sharpness=1.0, intercept=0.0, prior=1.0, neighbours=1.0, encoder=0.0)
    assert mean_rank_of_unnamed(seeing, seeing.calibrated(8)) < mean_rank_of_unnamed(seeing, distrusting)


def test_weights_are_never_negative():
    generator = np.random.default_rng(0)
    images_ND = _unit(generator.normal(size=(200, 8)))
    # Captions that name just what the encoder denies: it may be ignored, not believed the wrong way round.
    concepts_VD = _unit(generator.normal(size=(6, 8)))
    named = [np.sort(np.argsort(concepts_VD @ image)[:2]) for image in images_ND]
    weights = Dataset(images_ND, concepts_VD, named).calibrated(8)
    assert weights.encoder == 0.0
    assert weights.prior >= 0.0
    assert weights.neighbours >= 0.0


def test_calibration_rows_are_spread_over_the_dataset():
    np.testing.assert_array_equal(calibration_rows(5), np.arange(5))
    np.testing.assert_array_equal(calibration_rows(0), [])
    rows = calibration_rows(100_000, sample=1000)
    assert len(np.unique(rows)) == 1000
    assert rows[0] == 0
    assert rows[-1] >= 99_900


def test_needs_statistics_of_the_same_vocabulary():
    world, _ = _world(10)
    arguments = {
        "scoring": "evidence",
        "candidates": expand(world.mentions, np.arange(10), world.near(3)[0]),
        "mentions": world.mentions,
        "neighbours_BL": world.near(3)[0],
        "images_BD": world.images_ND,
        "concepts_VD": world.concepts_VD,
    }
    with pytest.raises(ValueError, match="pass its statistics"):
        rank(**arguments)
    other = Statistics.of_shard(mentions=world.mentions, images_ND=world.images_ND, concept_count=99)
    with pytest.raises(ValueError, match="same vocabulary"):
        rank(**arguments, statistics=other, neighbour_similarities_BL=world.near(3)[1])


def test_an_own_mention_counts_once_even_when_it_is_the_only_one():
    world = Dataset(_unit(np.eye(3)), _unit(np.eye(3)), [[0], [1], [2]])
    for image, scores in enumerate(world.scores(2)):
        assert scores[image][2] >= TRUST_IN_CAPTIONS - 1e-6
    assert OWN_CAPTION == -1
