"""Noun phrases mined from captions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocu.curation.phrase_mining import Mined, MiningParameters, mine

CAPTIONS = [
    *["A red fire hydrant on the sidewalk."] * 6,
    *["Two fire hydrants next to a street"] * 3,
    *["A man is slowly eating a hot dog, and a woman laughs."] * 4,
    *["hot dogs on a large white plate"] * 4,
    *["A man riding his bike down the street"] * 5,
    *["Children playing on a sidewalk"] * 3,
    *["A child stands near the living room"] * 3,
    *["A pair of scissors"] * 5,
    *["a fire in the fireplace"] * 2,
    *["a white dog"] * 5,
    *["a beautiful day"] * 9,
    *["a canvas painting"] * 5,
    *["a red truck and a large house"] * 8,
    *["a red car"] * 7,
    *["a truck, a car, a plate and a house"] * 20,
]
FEW = MiningParameters(minimum_count=3)


def counts(mined: Mined) -> dict[str, int]:
    return {phrase.name: phrase.count for phrase in mined.phrases}


def test_phrases_are_merged_to_the_singular_and_counted_by_caption() -> None:
    phrase_counts = counts(mine(CAPTIONS, FEW))
    assert phrase_counts["fire hydrant"] == 9
    assert phrase_counts["hot dog"] == 8
    assert phrase_counts["child"] == 6
    assert phrase_counts["sidewalk"] == 9
    assert phrase_counts["man"] == 9
    assert phrase_counts["living room"] == 3
    assert counts(mine(["dog dog dogs, a dog"] * 3, FEW)) == {"dog": 3}


def test_fragments_verbs_adjectives_and_abstract_words_are_no_phrases() -> None:
    phrase_counts = counts(mine(CAPTIONS, FEW))
    for fragment in [
        "hydrant",
        "red fire",
        "living",
        "eating",
        "riding",
        "large",
        "white",
        "day",
        "laughs",
        "slowly",
    ]:
        assert fragment not in phrase_counts
    assert not any(
        name.split()[0] in {"a", "the", "his", "red", "large", "beautiful"} for name in phrase_counts
    )


def test_words_that_only_look_plural_keep_their_form() -> None:
    phrase_counts = counts(mine(CAPTIONS, FEW))
    assert phrase_counts["scissors"] == 5
    assert "canva" not in phrase_counts
    assert "scissor" not in phrase_counts


def test_phrases_do_not_cross_punctuation() -> None:
    assert counts(mine(["a cat, dog"] * 5, FEW)) == {"cat": 5, "dog": 5}


def test_the_most_frequent_come_first_ties_by_name_and_are_limited() -> None:
    mined = mine(CAPTIONS, FEW)
    assert list(mined.phrases) == sorted(mined.phrases, key=lambda phrase: (-phrase.count, phrase.name))
    assert mined.captions == len(CAPTIONS)
    few = mine(CAPTIONS, dataclasses.replace(FEW, maximum_phrases=4))
    assert few.phrases == mined.phrases[:4]
    rare = mine(CAPTIONS, dataclasses.replace(FEW, minimum_count=9))
    assert all(phrase.count >= 9 for phrase in rare.phrases)


def test_the_phrases_make_a_vocabulary() -> None:
    vocabulary = mine(CAPTIONS, FEW).vocabulary("street")
    assert [vocabulary.names[concept] for concept in vocabulary.match("Fire-hydrants and a hotdog")] == [
        "fire hydrant",
        "hot dog",
    ]
    assert vocabulary.name == "street"


def test_the_result_does_not_depend_on_the_order_of_captions() -> None:
    assert mine(reversed(CAPTIONS), FEW) == mine(CAPTIONS, FEW)


def test_memory_is_bounded_and_the_loss_is_stated() -> None:
    rare = (
        f"a thing{chr(97 + at % 26)}{chr(97 + at // 26 % 26)}{chr(97 + at // 676)} here" for at in range(5000)
    )
    common = ["a fire hydrant"] * 50
    mined = mine([*common, *rare, *common], MiningParameters(minimum_count=20, maximum_counters=1000))
    exact = {"fire hydrant": 100}
    phrase_counts = counts(mined)
    assert phrase_counts.keys() == exact.keys()
    assert mined.lost_count > 0
    assert 100 - mined.lost_count <= phrase_counts["fire hydrant"] <= 100


@pytest.mark.parametrize("name", ["minimum_count", "maximum_words", "maximum_phrases", "maximum_counters"])
def test_parameters_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        MiningParameters(**{name: 0})


def test_no_captions_give_no_phrases() -> None:
    assert mine([]) == Mined((), 0, 0)
    assert mine(["", "\x00\ud800", "the of and", "?"]).phrases == ()
    assert len(mine([]).vocabulary()) == 0


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("dogs cat'hy\n.é"), max_size=30), max_size=20))
def test_any_captions_give_phrases_that_the_captions_contain(captions: list[str]) -> None:
    mined = mine(captions * 3, FEW)
    vocabulary = mined.vocabulary()
    assert len(vocabulary) == len(mined.phrases)
    for phrase in mined.phrases:
        assert 3 <= phrase.count <= 3 * len(captions)
        assert -1 <= phrase.cohesion <= 1


@pytest.mark.photographs
def test_real_captions_give_the_things_in_them(shared_folder: Path) -> None:
    text = (shared_folder / "datasets" / "coco-photos" / "captions.json").read_text()
    mined = mine(annotation["caption"] for annotation in json.loads(text)["annotations"])
    phrase_counts = counts(mined)
    assert {
        "person",
        "cat",
        "pizza",
        "fire hydrant",
        "stop sign",
        "parking meter",
        "living room",
    } <= phrase_counts.keys()
    assert not {"hydrant", "parking", "sitting", "large", "top", "next", "is"} & phrase_counts.keys()
