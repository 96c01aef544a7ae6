"""Archives of whole datasets: order, limits, origins, clusters and both scorings through one function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks import plain_curation
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.curation.worked_example import (
    CONCEPTS_VD,
    DOG,
    GRASS,
    IMAGES_ND,
    MAN,
    MENTIONS,
    NAMES,
    WOMAN,
    mentions_of,
)

from cocu.curation.archives import NO_CLUSTER, NO_NEIGHBOUR, OWN_CAPTION, Archives
from cocu.curation.curate import curate
from cocu.curation.parameters import CurationParameters
from cocu.curation.statistics import Statistics

WORDS = ("car", "carpet", "cat", "cattle", "human", "man", "pan", "street", "tree", "woman")


def example(nearest: list[int], **parameters: Any) -> Archives:
    return curate(
        mentions=MENTIONS,
        anchors_B=np.array([0]),
        neighbours_BL=np.array([nearest]),
        neighbour_similarities_BL=np.ones((1, len(nearest))),
        images_BD=IMAGES_ND[:1],
        concepts_VD=CONCEPTS_VD,
        names=NAMES,
        parameters=CurationParameters(**parameters),
        embeddings_of=lambda rows: IMAGES_ND[rows],
    )


def test_set_archive_of_the_worked_example() -> None:
    archives = example([2, 1], scoring="set")
    assert archives.concepts_C.tolist() == [DOG, MAN, WOMAN, GRASS]
    np.testing.assert_allclose(archives.scores_C, [2.0, 1.815439, 1.788018, 1.119165], atol=1e-6)
    np.testing.assert_allclose(archives.global_C + archives.local_C, archives.scores_C)
    assert archives.clusters_C.tolist() == [0, 0, 1, 0]
    assert archives.origins_O.tolist() == [OWN_CAPTION, OWN_CAPTION, 0, 1, 0, 1]
    assert archives.origin_offsets_C1.tolist() == [0, 1, 3, 4, 6]


def test_official_archive_of_the_worked_example_counts_the_image_as_a_neighbour() -> None:
    """L = 3 is the image itself and two others: the third column is not read."""
    archives = example([2, 1, 3], scoring="official", neighbours=3)
    assert archives.concepts_C.tolist() == [DOG, WOMAN, MAN, GRASS]
    np.testing.assert_allclose(archives.scores_C, [1.775000, 1.642857, 1.537415, 1.010294], atol=1e-6)


def test_official_origins_are_the_captions_that_name_a_concept_not_those_that_contain_it() -> None:
    archives = example([2, 1, 3], scoring="official", neighbours=3)
    man = archives.concepts_C.tolist().index(MAN)
    start, end = archives.origin_offsets_C1[man : man + 2]
    assert archives.origins_O[start:end].tolist() == [OWN_CAPTION, 0]


def test_set_needs_no_embeddings_of_neighbours_and_official_says_so() -> None:
    given_example: dict[str, Any] = {
        "mentions": MENTIONS,
        "anchors_B": np.array([0]),
        "neighbours_BL": np.array([[2, 1]]),
        "neighbour_similarities_BL": np.ones((1, 2)),
        "images_BD": IMAGES_ND[:1],
        "concepts_VD": CONCEPTS_VD,
        "names": NAMES,
    }
    assert len(curate(**given_example, parameters=CurationParameters(scoring="set")).concepts_C) == 4
    with pytest.raises(ValueError, match="pass embeddings_of"):
        curate(**given_example, parameters=CurationParameters(scoring="official"))


def test_only_the_first_l_neighbours_count() -> None:
    assert example([2, 1], scoring="set", neighbours=1).concepts_C.tolist() == [DOG, MAN, GRASS]


def test_limits_keep_the_best() -> None:
    assert example([2, 1], scoring="set", max_concepts=2).concepts_C.tolist() == [DOG, MAN]
    short = example([2, 1], scoring="set", min_score=1.5)
    assert short.concepts_C.tolist() == [DOG, MAN, WOMAN]
    assert short.offsets_B1.tolist() == [0, 3]
    assert short.clusters_C.max() == 1
    assert short.origins_O.tolist() == [OWN_CAPTION, OWN_CAPTION, 0, 1]
    assert len(example([2, 1], scoring="set", min_score=9.0).concepts_C) == 0


def test_clustering_can_be_left_out() -> None:
    archives = example([2, 1], scoring="set", clustering=False)
    assert np.all(archives.clusters_C == NO_CLUSTER)


def test_equal_scores_stand_in_concept_order() -> None:
    images = np.eye(4)[:2]
    concepts = np.tile(np.eye(4)[0], (3, 1))
    archives = curate(
        mentions=mentions_of(((2, 0, 1), ()), images, concepts),
        anchors_B=np.array([0]),
        neighbours_BL=np.array([[1]]),
        neighbour_similarities_BL=np.zeros((1, 1)),
        images_BD=images[:1],
        concepts_VD=concepts,
        names=("a", "b", "c"),
        parameters=CurationParameters(scoring="set"),
    )
    assert archives.concepts_C.tolist() == [0, 1, 2]


def test_names_and_embeddings_must_be_of_one_vocabulary() -> None:
    with pytest.raises(ValueError, match="3 names and 4 concept embeddings"):
        curate(
            mentions=MENTIONS,
            anchors_B=np.array([0]),
            neighbours_BL=np.array([[2, 1]]),
            neighbour_similarities_BL=np.ones((1, 2)),
            images_BD=IMAGES_ND[:1],
            concepts_VD=CONCEPTS_VD,
            names=NAMES[:3],
            parameters=CurationParameters(scoring="set"),
        )


def random_dataset(seed: int, samples: int = 14) -> dict[str, Any]:
    """A dataset whose vocabulary is full of names inside names; cosines are positive."""
    generator = np.random.default_rng(seed)
    images, concepts = (np.abs(generator.standard_normal((count, 6))) for count in (samples, len(WORDS)))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    captions = tuple(
        tuple(generator.choice(len(WORDS), generator.integers(0, 4), replace=False).tolist())
        for _ in range(samples)
    )
    others = [[row for row in generator.permutation(samples) if row != anchor] for anchor in range(samples)]
    neighbours = np.array([row[:6] for row in others])
    neighbours[generator.random(neighbours.shape) < 0.1] = NO_NEIGHBOUR
    return {"captions": captions, "images": images, "concepts": concepts, "neighbours": neighbours}


def curated(data: dict[str, Any], rows: np.ndarray, parameters: CurationParameters) -> Archives:
    mentions = mentions_of(data["captions"], data["images"], data["concepts"])
    return curate(
        mentions=mentions,
        anchors_B=rows,
        neighbours_BL=data["neighbours"][rows],
        neighbour_similarities_BL=np.ones(data["neighbours"][rows].shape),
        images_BD=data["images"][rows],
        concepts_VD=data["concepts"],
        names=WORDS,
        parameters=parameters,
        statistics=Statistics.of_shard(mentions=mentions, images_ND=data["images"], concept_count=len(WORDS)),
        embeddings_of=lambda requested: data["images"][requested],
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_official_equals_the_plain_implementation(seed: int) -> None:
    data = random_dataset(seed)
    rows = np.arange(len(data["captions"]))
    archives = curated(data, rows, CurationParameters(scoring="official", neighbours=6))
    for row in rows:
        part = slice(archives.offsets_B1[row], archives.offsets_B1[row + 1])
        scores = dict(zip(archives.concepts_C[part].tolist(), archives.scores_C[part], strict=True))
        expected = plain_curation.official_scores(
            anchor=row,
            retrieved=[row, *(j for j in data["neighbours"][row, :5] if j >= 0)],
            captions=data["captions"],
            names=WORDS,
            images_ND=data["images"],
            concepts_VD=data["concepts"],
        )
        assert scores == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    scoring=st.sampled_from(["evidence", "official", "set"]),
    cut=st.integers(0, 14),
)
def test_images_may_be_curated_in_any_batches(seed: int, scoring: Any, cut: int) -> None:
    """Property 7: every array is the same to the last bit however the images are divided."""
    data = random_dataset(seed)
    rows = np.arange(len(data["captions"]))
    parameters = CurationParameters(scoring=scoring, neighbours=6)
    whole = curated(data, rows, parameters)
    parts = [curated(data, part, parameters) for part in (rows[:cut], rows[cut:])]
    for name in ("concepts_C", "scores_C", "global_C", "local_C", "clusters_C", "origins_O"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@pytest.mark.parametrize("scoring", ["evidence", "official", "set"])
def test_zero_vectors_identical_images_and_a_single_sample(scoring: Any) -> None:
    data = random_dataset(0)
    parameters = CurationParameters(scoring=scoring, neighbours=6)
    rows = np.arange(len(data["captions"]))
    for images in (np.zeros_like(data["images"]), np.tile(data["images"][0], (len(rows), 1))):
        archives = curated(data | {"images": images}, rows, parameters)
        assert np.all(np.isfinite(archives.scores_C))
    single = data | {
        "captions": ((1, 4),),
        "images": data["images"][:1],
        "neighbours": np.full((1, 6), NO_NEIGHBOUR),
    }
    archives = curated(single, np.array([0]), replace(parameters, neighbours=1))
    assert sorted(archives.concepts_C.tolist()) == [1, 4]
