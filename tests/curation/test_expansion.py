"""Candidates and their origins, against a plain set-based expansion and at the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.archives import NO_NEIGHBOUR, OWN_CAPTION, Candidates, Mentions
from cocu.curation.expansion import expand


def mentions_from(captions: list[list[int]]) -> Mentions:
    offsets = np.cumsum([0] + [len(caption) for caption in captions])
    concepts = np.array([concept for caption in captions for concept in sorted(caption)], np.int32)
    return Mentions(
        offsets_N1=offsets.astype(np.int64),
        concepts_M=concepts,
        similarities_M=np.zeros(len(concepts), np.float32),
    )


def as_dictionaries(candidates: Candidates) -> list[dict[int, list[int]]]:
    """Per image: concept to origins, in stored order."""
    images = []
    for start, end in zip(candidates.offsets_B1[:-1], candidates.offsets_B1[1:], strict=True):
        image = {}
        for candidate in range(start, end):
            part = slice(*candidates.origin_offsets_C1[candidate : candidate + 2])
            image[int(candidates.concepts_C[candidate])] = candidates.origins_O[part].tolist()
        images.append(image)
    return images


def expanded(
    captions: list[list[int]], anchors: list[int], neighbours: list[list[int]], **options: bool
) -> list:
    return as_dictionaries(
        expand(
            mentions_from(captions),
            np.array(anchors),
            np.array(neighbours, np.int64).reshape(len(anchors), -1 if anchors else 3),
            **options,
        )
    )


def test_origins_are_the_own_caption_then_neighbour_positions() -> None:
    candidates = expanded([[3, 5], [5], [1, 5]], [0], [[2, 1]])
    assert candidates == [{1: [0], 3: [OWN_CAPTION], 5: [OWN_CAPTION, 0, 1]}]
    assert list(candidates[0]) == [1, 3, 5]


def test_own_caption_can_be_left_out() -> None:
    assert expanded([[3, 5], [5]], [0], [[1]], own_caption=False) == [{5: [0]}]


def test_the_image_itself_missing_and_repeated_neighbours_do_not_count() -> None:
    candidates = expanded([[1], [2], [3]], [0], [[0, 1, NO_NEIGHBOUR, 1, 2, -7]])
    assert candidates == [{1: [OWN_CAPTION], 2: [1], 3: [4]}]


def test_the_image_itself_does_not_count_even_without_its_caption() -> None:
    assert expanded([[1], [2]], [0], [[0, 1]], own_caption=False) == [{2: [1]}]


def test_count_anchor_counts_the_image_itself_and_repeats() -> None:
    candidates = expanded([[1], [2]], [0], [[0, 1, 1]], own_caption=False, count_anchor=True)
    assert candidates == [{1: [0], 2: [1, 2]}]


def test_no_neighbours_no_captions_no_images() -> None:
    assert expanded([[4]], [0], [[]]) == [{4: [OWN_CAPTION]}]
    assert expanded([[], []], [0, 1], [[1], [0]]) == [{}, {}]
    assert expanded([[1]], [], []) == []


def test_captions_that_name_thousands() -> None:
    many = list(range(5000))
    candidates = expanded([many[::2], many, many[1000:]], [0], [[1, 2]])
    assert len(candidates[0]) == 5000
    assert candidates[0][0] == [OWN_CAPTION, 0]
    assert candidates[0][4998] == [OWN_CAPTION, 0, 1]


@settings(deadline=None, max_examples=80)
@given(
    captions=st.lists(st.lists(st.integers(0, 20), max_size=8, unique=True), min_size=1, max_size=10),
    seed=st.integers(0, 2**32 - 1),
    own_caption=st.booleans(),
)
def test_equals_a_plain_expansion(captions: list[list[int]], seed: int, own_caption: bool) -> None:
    count = len(captions)
    neighbours = np.random.default_rng(seed).integers(-1, count, (count, 6)).tolist()
    for anchor, candidates in enumerate(
        expanded(captions, list(range(count)), neighbours, own_caption=own_caption)
    ):
        expected: dict[int, list[int]] = {}
        if own_caption:
            expected = {concept: [OWN_CAPTION] for concept in captions[anchor]}
        for position, row in enumerate(neighbours[anchor]):
            if row not in {-1, anchor} and row not in neighbours[anchor][:position]:
                for concept in captions[row]:
                    expected.setdefault(concept, []).append(position)
        assert list(candidates.items()) == sorted(expected.items())


@pytest.mark.parametrize("row", [3, 2**40])
def test_rows_that_are_no_samples_are_refused(row: int) -> None:
    with pytest.raises(ValueError, match=f"neighbour {row} is not one of the 3 samples"):
        expanded([[1], [2], [3]], [0], [[1, row]])
    with pytest.raises(ValueError, match=f"anchor {row} is not one of the 3 samples"):
        expanded([[1], [2], [3]], [row], [[1]])
    with pytest.raises(ValueError, match="anchor -1 is not"):
        expanded([[1], [2], [3]], [-1], [[1]])


def test_mentions_that_are_cut_short_are_refused() -> None:
    whole = mentions_from([[1], [2]])
    with pytest.raises(ValueError, match="from 0 to the 1 mentions"):
        expand(replace(whole, concepts_M=whole.concepts_M[:1]), np.array([0]), np.array([[1]]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a row per image"):
        expand(mentions_from([[1]]), np.array([0]), np.array([[0], [0]]))
