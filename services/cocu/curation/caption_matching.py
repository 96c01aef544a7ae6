"""Matching of surface forms in a caption: the longest match from left to right, over a trie of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from cocu.curation import caption_places, segmentation, surface_forms, word_tables
from cocu.curation.caption_places import PlacedTokens

_NOTHING = -1
_Span = tuple[int, int]
"""The first token of a match and the one after its last."""


class _Doubt(IntEnum):
    """Why a single word may not be the noun it looks like."""

    NONE = 0
    VERB = 1
    MEASURE = 2
    ADJECTIVE = 3


class _Node:
    """A node of the trie: the words that may follow, and the concept that the words so far name, if any."""

    __slots__ = ("concept", "doubt", "following")

    def __init__(self) -> None:
        self.concept = _NOTHING
        self.doubt = _Doubt.NONE
        self.following: dict[str, _Node] = {}


class Place(NamedTuple):
    """Where a caption names a concept: text[start:end], in code points of the caption as it was given."""

    concept: int
    start: int
    end: int


class Matcher:
    """Finds surface forms in captions; built once per vocabulary from a mapping of forms to concept ids.

    A single word that is also a verb ("stands", "can"), a measure ("a couple of") or an adjective ("an
    orange shirt") counts only where the words beside it allow a noun; see the tables in `word_tables`.
    Phrases of several words always count.
    """

    def __init__(self, forms: Mapping[str, int]) -> None:
        root = _Node()
        for text, concept in forms.items():
            node = root
            for token in self._tokens(text):
                node = node.following.setdefault(token, _Node())
            node.concept = concept
        self._first = root.following
        for table, doubt in _DOUBTS:
            for word in table & self._first.keys():
                self._first[word].doubt = doubt

    def find_all(self, caption: str) -> list[int]:
        """Return the concepts in order of appearance, with repetitions; no word belongs to two of them."""
        return self._find(surface_forms.words(caption))

    def locate(self, caption: str) -> list[Place]:
        """Return what `find_all` returns, each concept with its place in the caption."""
        placed = caption_places.words(caption)
        spans: list[_Span] = []
        return _places(self._find(placed.tokens, spans), spans, placed)

    def _find(self, tokens: Sequence[str], spans: list[_Span] | None = None) -> list[int]:
        """Return the concepts that tokens name, and append the tokens of each to `spans`."""
        first = self._first
        concepts = []
        position, end, previous_end = 0, len(tokens), -1
        while position < end:
            start = position
            node = first.get(tokens[position])
            position += 1
            if node is None:
                continue
            concept, doubt, reach = node.concept, node.doubt, position
            while reach < end and node.following:
                following = node.following.get(tokens[reach])
                if following is None:
                    break
                node = following
                reach += 1
                if node.concept != _NOTHING:
                    concept, doubt, position = node.concept, _Doubt.NONE, reach
            if concept != _NOTHING and not (
                doubt and self._is_no_noun(tokens, start, doubt, after_a_concept=previous_end == start)
            ):
                concepts.append(concept)
                previous_end = position
                if spans is not None:
                    spans.append((start, position))
        return concepts

    def _tokens(self, form: str) -> list[str]:
        return form.split(" ")

    def _is_no_noun(
        self, tokens: Sequence[str], position: int, doubt: _Doubt, *, after_a_concept: bool
    ) -> bool:
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if doubt is _Doubt.MEASURE:
            return following == "of"
        if doubt is _Doubt.ADJECTIVE:
            return following in self._first
        word, previous = tokens[position], tokens[position - 1] if position else ""
        if previous == "to":
            return not _is_plural(word)
        if following in word_tables.OBJECT_MARKS or previous in word_tables.SUBJECTS:
            return True
        return after_a_concept and (word == "can" or word.endswith("s") != _is_plural(previous))


class SegmentedMatcher(Matcher):
    """A `Matcher` also for scripts without spaces between words, where a form may be several words."""

    def find_all(self, caption: str) -> list[int]:
        """Return the concepts in order of appearance, with repetitions; no word belongs to two of them."""
        if not segmentation.is_unspaced(caption):
            return super().find_all(caption)
        return self._find_segmented(*surface_forms.segmented_words(caption))

    def locate(self, caption: str) -> list[Place]:
        """Return what `find_all` returns, each concept with its place in the caption."""
        if not segmentation.is_unspaced(caption):
            return super().locate(caption)
        placed = caption_places.segmented_words(caption)
        spans: list[_Span] = []
        return _places(self._find_segmented(placed.tokens, placed.word_ends, spans), spans, placed)

    def _find_segmented(
        self, tokens: Sequence[str], ends: Sequence[bool], spans: list[_Span] | None = None
    ) -> list[int]:
        concepts = []
        position, previous_end = 0, -1
        while position < len(tokens):
            start, node, concept, doubt = position, self._first.get(tokens[position]), _NOTHING, _Doubt.NONE
            reach = position + 1
            while node is not None:
                if node.concept != _NOTHING and ends[reach - 1]:
                    concept, position = node.concept, reach
                    doubt = node.doubt if reach == start + 1 else _Doubt.NONE
                node = node.following.get(tokens[reach]) if reach < len(tokens) else None
                reach += 1
            if concept == _NOTHING:
                position = ends.index(True, start) + 1
            elif not (
                doubt and self._is_no_noun(tokens, start, doubt, after_a_concept=previous_end == start)
            ):
                concepts.append(concept)
                previous_end = position
                if spans is not None:
                    spans.append((start, position))
        return concepts

    def _tokens(self, form: str) -> list[str]:
        return surface_forms.unspaced_tokens(form)


def _places(concepts: Sequence[int], spans: Sequence[_Span], placed: PlacedTokens) -> list[Place]:
    return [
        Place(concept, placed.starts[first], placed.stops[stop - 1])
        for concept, (first, stop) in zip(concepts, spans, strict=True)
    ]


def _is_plural(word: str) -> bool:
    return (
        word.endswith("s") and not word.endswith(("ss", "is", "us"))
    ) or word in word_tables.UNMARKED_PLURALS


_VERB_FORMS = word_tables.VERB_LIKE | {
    word + ("es" if word.endswith(("s", "sh", "ch", "x", "ss")) else "s")
    for word in word_tables.VERB_LIKE - {"can"}
}
_DOUBTS = (
    (_VERB_FORMS | {"flies"}, _Doubt.VERB),
    (word_tables.MEASURE_LIKE, _Doubt.MEASURE),
    (word_tables.ADJECTIVE_LIKE, _Doubt.ADJECTIVE),
)
