"""Vocabularies written a concept a line: what is read again is what was written, or a comment says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.curation.vocabulary import Concept, Vocabulary
from cocu.curation.vocabulary_lines import to_lines

WORDS = ("dog", "knife", "skate", "board", "teddy", "bear", "colour", "man's", "消防车", "aeroplane", "x-ray")
WORD = st.sampled_from(WORDS)
NAME = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


def again(text: str) -> Vocabulary:
    return Vocabulary.from_lines(text, name="again")


@given(st.dictionaries(NAME, st.lists(NAME, max_size=3), min_size=1, max_size=5))
def test_lines_make_the_same_concepts_or_say_which_differ(stated: dict[str, list[str]]) -> None:
    lines = [f"{name} = {', '.join(synonyms)}" if synonyms else name for name, synonyms in stated.items()]
    try:
        vocabulary = again("\n".join(lines))
    except ValueError:
        return
    text = to_lines(vocabulary)
    try:
        read = again(text)
    except ValueError:
        assert text.startswith("# ")
        return
    changed = {concept.name for concept in set(vocabulary.concepts) ^ set(read.concepts)}
    assert changed <= set(text.partition("\n")[0].partition(": ")[2].split(", "))


def test_of_the_shipped_vocabulary_hardly_any_differ() -> None:
    shipped = Vocabulary.shipped()
    read = again(to_lines(shipped))
    assert read.names == shipped.names
    assert len(set(read.concepts) - set(shipped.concepts)) < 10


def test_synonyms_are_few() -> None:
    text = "aerosol can = spray can\ndog = hound\nskateboard\n"
    assert to_lines(again(text)) == text


def test_what_lines_cannot_say() -> None:
    vocabulary = again("dog\n")
    for other, words in (
        (replace(vocabulary, templates=("a drawing of a {}",)), "a drawing of a {}"),
        (replace(vocabulary, concepts=(Concept("c#", ("c #",)),)), "c#"),
        (replace(vocabulary, concepts=(Concept("a=b", ("a = b",)),)), "a=b"),
    ):
        with pytest.raises(ValueError, match=words):
            to_lines(other)
    odd = replace(vocabulary, concepts=(Concept("dog", ("dog", "a , b")),))
    assert to_lines(odd) == "# By the rules these have other forms than before (1): dog\ndog\n"
