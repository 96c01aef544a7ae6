"""A vocabulary after feedback about its concepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.vocabulary import Vocabulary
from cocu.curation.vocabulary_feedback import apply_feedback, follow_merges

WORDS = ("bench", "boat", "car", "cat", "dog", "hot dog", "tree")
VOCABULARY = Vocabulary.from_lines("\n".join(WORDS), name="things")


def named(vocabulary: Vocabulary, caption: str) -> list[str]:
    return [vocabulary.names[concept] for concept in vocabulary.match(caption)]


def test_a_blocked_concept_is_found_in_no_caption() -> None:
    after = apply_feedback(VOCABULARY, blocked=["dog"], merged={})
    assert after.names == tuple(word for word in WORDS if word != "dog")
    assert named(after, "a dog, two dogs and a hot dog on a bench") == ["bench", "hot dog"]
    assert (after.name, after.version, after.templates) == ("things", "1", VOCABULARY.templates)


def test_words_of_a_blocked_concept_are_free_for_shorter_ones() -> None:
    assert named(VOCABULARY, "a hot dog") == ["hot dog"]
    assert named(apply_feedback(VOCABULARY, blocked=["hot dog"], merged={}), "a hot dog") == ["dog"]


def test_forms_move_to_the_end_of_a_chain_of_merges() -> None:
    after = apply_feedback(VOCABULARY, blocked=[], merged={"boat": "car", "car": "tree"})
    assert named(after, "two boats and a car") == ["tree"]
    assert after.find("boats") == after.names.index("tree")
    assert "boat" not in after.names


def test_what_is_merged_into_a_blocked_concept_goes_with_it() -> None:
    after = apply_feedback(VOCABULARY, blocked=["car"], merged={"boat": "car"})
    assert named(after, "a boat, a car, a tree") == ["tree"]


def test_no_feedback_is_the_same_vocabulary() -> None:
    assert apply_feedback(VOCABULARY, blocked=[], merged={}) is VOCABULARY


@pytest.mark.parametrize(
    ("blocked", "merged", "problem"),
    [
        (["zeppelin"], {}, "'zeppelin'"),
        ([], {"dog": "zeppelin"}, "'zeppelin'"),
        (["dog"], {"dog": "cat"}, "blocked and merged"),
        ([], {"dog": "dog"}, "'dog' → 'dog'"),
        ([], {"dog": "cat", "cat": "car", "car": "dog"}, "'dog' → 'cat' → 'car' → 'dog'"),
    ],
)
def test_feedback_that_does_not_go_together(blocked: list[str], merged: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        apply_feedback(VOCABULARY, blocked=blocked, merged=merged)


def test_a_way_ends_where_nothing_is_merged() -> None:
    assert list(follow_merges({"a": "b", "b": "c"}, "a")) == ["b", "c"]
    assert list(follow_merges({"a": "b"}, "b")) == []


@given(
    blocked=st.sets(st.sampled_from(WORDS)),
    merged=st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS)),
)
def test_every_form_ends_where_its_concept_does(blocked: set[str], merged: dict[str, str]) -> None:
    blocked -= merged.keys()
    if any(goes_round(merged, word) for word in merged):
        with pytest.raises(ValueError, match="circle"):
            apply_feedback(VOCABULARY, blocked=blocked, merged=merged)
        return
    after = apply_feedback(VOCABULARY, blocked=blocked, merged=merged)
    for concept in VOCABULARY.concepts:
        end = concept.name
        while end in merged:
            end = merged[end]
        for form in concept.forms:
            position = after.find(form)
            assert (None if end in blocked else end) == (None if position is None else after.names[position])
    assert Vocabulary.from_json(after.to_json()) == after


def goes_round(merged: dict[str, str], word: str) -> bool:
    for _ in merged:
        word = merged.get(word, "")
    return word in merged
