"""Scores: the worked example of the reference, the plain implementation, the properties of section 10.3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks import plain_curation
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.curation.worked_example import (
    CAPTIONS,
    CONCEPTS_VD,
    IMAGES_ND,
    MENTIONS,
    NAMES,
    mentions_of,
)

from cocu.curation.archives import Candidates, Mentions
from cocu.curation.expansion import expand
from cocu.curation.official_origins import add_substring_mentions
from cocu.curation.ragged import owners
from cocu.curation.ranking import SCORINGS, Comparisons, Scores, compare, rank

ROW = [0]


def scores_by_name(
    *,
    scoring: str,
    neighbours: list[int],
    mentions: Mentions = MENTIONS,
    own_caption: bool = True,
    count_anchor: bool = False,
    images_ND: np.ndarray = IMAGES_ND,
    concepts_VD: np.ndarray = CONCEPTS_VD,
) -> dict[str, float]:
    """Scores of image 0 in the worked example."""
    anchors, lists = np.array(ROW), np.array([neighbours])
    candidates = expand(mentions, anchors, lists, own_caption=own_caption, count_anchor=count_anchor)
    scores = rank(
        scoring=scoring,
        candidates=candidates,
        mentions=mentions,
        neighbours_BL=lists,
        images_BD=images_ND[ROW],
        concepts_VD=concepts_VD,
    )
    return {
        NAMES[concept]: score
        for concept, score in zip(candidates.concepts_C, scores.scores_C.tolist(), strict=True)
    }


def substrings() -> Mentions:
    return add_substring_mentions(
        mentions=MENTIONS, names=NAMES, concepts_VD=CONCEPTS_VD, embeddings_of=lambda rows: IMAGES_ND[rows]
    )


def table(dog: float | None, man: float | None, woman: float | None, grass: float | None) -> dict[str, Any]:
    """A row of the reference's table; None where the concept is not in the archive."""
    row = {"dog": dog, "man": man, "woman": woman, "grass": grass}
    return {name: pytest.approx(score, abs=1e-6) for name, score in row.items() if score is not None}


def official_half_scores(candidates: Candidates, comparisons: Comparisons) -> np.ndarray:
    """The official score with the roundings of a GPU run (D6).

    Cosines, means and the local ratio are rounded to float16; the global ratio is not. Needs positive means.
    """
    first_C, lengths_C = candidates.origin_offsets_C1[:-1], np.diff(candidates.origin_offsets_C1)
    anchor_C = comparisons.similarities_C.astype(np.float16)
    origins_half_O = comparisons.origin_similarities_O.astype(np.float16).astype(np.float32)
    totals_C = np.add.reduceat(origins_half_O, first_C) + anchor_C
    means_C = (totals_C / (lengths_C + 1)).astype(np.float16)
    images_C = owners(candidates.offsets_B1)
    largest_B = np.zeros(len(candidates.offsets_B1) - 1)
    np.maximum.at(largest_B, images_C, np.maximum(np.maximum.reduceat(origins_half_O, first_C), anchor_C))
    return anchor_C / largest_B[images_C] + (anchor_C / means_C).astype(np.float64)


class TestWorkedExample:
    def test_case_a_set(self) -> None:
        expected = table(2.0, 1.815439, 1.788018, 1.119165)
        assert scores_by_name(scoring="set", neighbours=[2, 1]) == expected

    def test_case_a_set_does_not_change_when_the_anchor_is_retrieved(self) -> None:
        """Property 1: the same archive whether or not the anchor is in the index."""
        expected = table(2.0, 1.815439, 1.788018, 1.119165)
        assert scores_by_name(scoring="set", neighbours=[0, 2, 1]) == expected

    def test_case_a_official(self) -> None:
        expected = table(1.775000, 1.537415, 1.642857, 1.010294)
        assert scores_by_name(scoring="official", neighbours=[2, 1], mentions=substrings()) == expected

    def test_case_a_official_with_the_anchor_among_the_returned_ids(self) -> None:
        expected = table(1.775000, 1.537415, 1.642857, 1.010294)
        scores = scores_by_name(
            scoring="official",
            neighbours=[0, 2, 1],
            mentions=substrings(),
            own_caption=False,
            count_anchor=True,
        )
        assert scores == expected

    def test_case_a_official_in_half_precision(self) -> None:
        """What a GPU run of the released script stores; float16 inputs, so its own figures."""
        images, concepts = IMAGES_ND.astype(np.float16), CONCEPTS_VD.astype(np.float16)
        wide = add_substring_mentions(
            mentions=mentions_of(CAPTIONS, images.astype(np.float32), concepts.astype(np.float32)),
            names=NAMES,
            concepts_VD=concepts.astype(np.float32),
            embeddings_of=lambda rows: images[rows].astype(np.float32),
        )
        lists = np.array([[2, 1]])
        candidates = expand(wide, np.array(ROW), lists)
        comparisons = compare(
            candidates=candidates,
            mentions=wide,
            neighbours_BL=lists,
            images_BD=images[ROW],
            concepts_VD=concepts,
        )
        scores_C = official_half_scores(candidates, comparisons)
        scores = dict(zip([NAMES[c] for c in candidates.concepts_C], scores_C, strict=True))
        assert scores == table(1.775178, 1.536933, 1.642578, 1.010869)

    def test_case_a_exact_membership_but_anchor_counted_twice(self) -> None:
        expected = table(2.000000, 1.829912, 1.788018, 1.119165)
        assert scores_by_name(scoring="official", neighbours=[2, 1]) == expected

    def test_case_a_substring_membership_anchor_counted_once(self) -> None:
        expected = table(1.775000, 1.501449, 1.642857, 1.010294)
        assert scores_by_name(scoring="set", neighbours=[2, 1], mentions=substrings()) == expected

    def test_case_b_official_anchor_outside_the_index(self) -> None:
        expected = table(None, 1.501449, 1.642857, 1.010294)
        scores = scores_by_name(
            scoring="official", neighbours=[2, 1], mentions=substrings(), own_caption=False
        )
        assert scores == expected

    def test_case_b_set_own_caption_excluded(self) -> None:
        expected = table(None, 1.869510, 1.828571, 1.149580)
        assert scores_by_name(scoring="set", neighbours=[2, 1], own_caption=False) == expected

    def test_case_c_official_reads_the_last_image_for_a_missing_one(self) -> None:
        expected = table(2.000000, 1.954232, 1.502304, 1.163116)
        last = len(CAPTIONS) - 1
        scores = scores_by_name(scoring="official", neighbours=[2, last], mentions=substrings())
        assert scores == expected

    def test_case_c_set_drops_a_missing_one(self) -> None:
        expected = table(2.000000, 1.815439, None, 1.163116)
        assert scores_by_name(scoring="set", neighbours=[0, 2, -1]) == expected


def dataset(
    seed: int, samples: int = 12, concepts: int = 9, dim: int = 8
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Random captions, images, concepts and neighbour lists; cosines mostly positive."""
    generator = np.random.default_rng(seed)

    def unit(count: int) -> np.ndarray:
        vectors = generator.standard_normal((count, dim)) + 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    captions = tuple(
        tuple(generator.choice(concepts, generator.integers(0, 4), replace=False).tolist())
        for _ in range(samples)
    )
    neighbours = np.stack([generator.permutation(samples)[:5] for _ in range(samples)])
    return captions, unit(samples), unit(concepts), neighbours


def score_all(
    scoring: str, mentions: Mentions, neighbours: np.ndarray, images: np.ndarray, concepts: np.ndarray
) -> tuple[Any, Scores]:
    candidates = expand(mentions, np.arange(len(images)), neighbours)
    scores = rank(
        scoring=scoring,
        candidates=candidates,
        mentions=mentions,
        neighbours_BL=neighbours,
        images_BD=images,
        concepts_VD=concepts,
    )
    return candidates, scores


seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=50)
@given(seed=seeds, own_caption=st.booleans())
def test_set_equals_the_plain_implementation(seed: int, own_caption: bool) -> None:
    captions, images, concepts, neighbours = dataset(seed)
    mentions = mentions_of(captions, images, concepts)
    candidates = expand(mentions, np.arange(len(images)), neighbours, own_caption=own_caption)
    scores = rank(
        scoring="set",
        candidates=candidates,
        mentions=mentions,
        neighbours_BL=neighbours,
        images_BD=images,
        concepts_VD=concepts,
    )
    for image in range(len(images)):
        part = slice(candidates.offsets_B1[image], candidates.offsets_B1[image + 1])
        expected = plain_curation.set_scores(
            anchor=image,
            neighbours=neighbours[image].tolist(),
            captions=captions,
            images_ND=images,
            concepts_VD=concepts,
            own_caption=own_caption,
        )
        assert candidates.concepts_C[part].tolist() == list(expected)
        np.testing.assert_allclose(scores.scores_C[part], list(expected.values()), atol=1e-9, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, scale=st.floats(0.01, 100), scoring=st.sampled_from(["official", "set"]))
def test_scaling_every_cosine_changes_no_score(seed: int, scale: float, scoring: str) -> None:
    captions, images, concepts, neighbours = dataset(seed)
    _, scores = score_all(scoring, mentions_of(captions, images, concepts), neighbours, images, concepts)
    scaled = concepts * scale
    _, again = score_all(scoring, mentions_of(captions, images, scaled), neighbours, images, scaled)
    np.testing.assert_allclose(again.scores_C, scores.scores_C, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_order_of_neighbours_and_vocabulary_changes_no_score(seed: int) -> None:
    captions, images, concepts, neighbours = dataset(seed)
    first, scores = score_all("set", mentions_of(captions, images, concepts), neighbours, images, concepts)
    renamed = np.random.default_rng(seed).permutation(len(concepts))
    other = np.empty_like(concepts)
    other[renamed] = concepts
    captions = tuple(tuple(int(renamed[concept]) for concept in caption) for caption in captions)
    second, again = score_all("set", mentions_of(captions, images, other), neighbours[:, ::-1], images, other)
    for image in range(len(images)):
        part = slice(first.offsets_B1[image], first.offsets_B1[image + 1])
        before = dict(zip(renamed[first.concepts_C[part]].tolist(), scores.scores_C[part], strict=True))
        after = dict(zip(second.concepts_C[part].tolist(), again.scores_C[part], strict=True))
        assert after == pytest.approx(before, rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_the_anchor_alone_is_local_one_and_the_global_term_is_a_share(seed: int) -> None:
    captions, images, concepts, neighbours = dataset(seed)
    images, concepts = np.abs(images), np.abs(concepts)
    candidates, scores = score_all(
        "set", mentions_of(captions, images, concepts), neighbours, images, concepts
    )
    for candidate in range(len(candidates.concepts_C)):
        start, end = candidates.origin_offsets_C1[candidate : candidate + 2]
        if candidates.origins_O[start:end].tolist() == [-1]:
            assert scores.local_C[candidate] == 1.0
    assert np.all(scores.global_C > 0)
    assert np.all(scores.global_C <= 1)


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_official_equals_set_without_its_defects(seed: int) -> None:
    """Property 5: no substrings, the anchor not among the neighbours, its concepts within theirs."""
    captions, images, concepts, neighbours = dataset(seed)
    images, concepts = np.abs(images), np.abs(concepts)
    mentions = mentions_of(captions, images, concepts)
    anchors = np.arange(len(images))
    neighbours = np.where(neighbours == anchors[:, None], -1, neighbours)
    candidates = expand(mentions, anchors, neighbours, own_caption=False)
    official, corrected = (
        rank(
            scoring=scoring,
            candidates=candidates,
            mentions=mentions,
            neighbours_BL=neighbours,
            images_BD=images,
            concepts_VD=concepts,
        )
        for scoring in ("official", "set")
    )
    np.testing.assert_allclose(official.scores_C, corrected.scores_C, rtol=1e-9)


@pytest.mark.parametrize("scoring", sorted({"official", "set"}))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_negative_and_zero_cosines_give_finite_scores(scoring: str, dtype: type, sign: float) -> None:
    captions, images, concepts, neighbours = dataset(3)
    images, concepts = np.abs(images).astype(dtype), (sign * np.abs(concepts)).astype(dtype)
    _, scores = score_all(scoring, mentions_of(captions, images, concepts), neighbours, images, concepts)
    assert scores.scores_C.dtype == dtype
    assert np.all(np.isfinite(scores.scores_C))
    assert np.all(scores.global_C == 0)
    if scoring == "set" or sign == 0:
        assert np.all(scores.local_C == 1)


def test_an_image_without_candidates_has_no_scores() -> None:
    mentions = mentions_of(((), ()), IMAGES_ND[:2], CONCEPTS_VD)
    candidates, scores = score_all("set", mentions, np.array([[1], [0]]), IMAGES_ND[:2], CONCEPTS_VD)
    assert candidates.offsets_B1.tolist() == [0, 0, 0]
    assert len(scores.scores_C) == 0


def test_an_unknown_scoring_is_named() -> None:
    with pytest.raises(ValueError, match=r"official.*set.*not 'best'"):
        scores_by_name(scoring="best", neighbours=[1])
    assert set(SCORINGS) >= {"official", "set"}


def test_candidates_of_other_mentions_are_refused() -> None:
    lists = np.array([[1, 2]])
    candidates = expand(substrings(), np.array(ROW), lists)
    with pytest.raises(ValueError, match="not a mention of its origins"):
        rank(
            scoring="set",
            candidates=candidates,
            mentions=MENTIONS,
            neighbours_BL=lists,
            images_BD=IMAGES_ND[ROW],
            concepts_VD=CONCEPTS_VD,
        )


@pytest.mark.parametrize(
    ("lists", "message"),
    [(np.array([[1]]), "origin 1 is beyond the 1 neighbours"), (np.array([[1, 2]] * 2), "a row for each")],
)
def test_other_neighbours_than_those_of_the_expansion_are_refused(lists: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(
            scoring="set",
            candidates=expand(MENTIONS, np.array(ROW), np.array([[1, 2]])),
            mentions=MENTIONS,
            neighbours_BL=lists,
            images_BD=IMAGES_ND[ROW],
            concepts_VD=CONCEPTS_VD,
        )


@pytest.mark.parametrize(
    ("images", "concepts", "message"),
    [
        (IMAGES_ND[:2], CONCEPTS_VD, "one row for each"),
        (IMAGES_ND[:1], CONCEPTS_VD[:, :3], "must share D"),
        (IMAGES_ND[:1], CONCEPTS_VD[:2], "same vocabulary"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(images: np.ndarray, concepts: np.ndarray, message: str) -> None:
    lists = np.array([[1, 2]])
    candidates = expand(MENTIONS, np.array(ROW), lists)
    with pytest.raises(ValueError, match=message):
        rank(
            scoring="set",
            candidates=candidates,
            mentions=MENTIONS,
            neighbours_BL=lists,
            images_BD=images,
            concepts_VD=concepts,
        )
