"""Forms in a caption: the longest match from left to right, over a trie of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from cocu.curation import surface_forms, word_tables

_NOTHING = -1


class _Doubt(IntEnum):
    """Why a single word may not be the noun it looks like."""

    NONE = 0
    VERB = 1
    MEASURE = 2
    ADJECTIVE = 3


class _Node:
    """What may follow the words so far, and the concept that they name, if any."""

    __slots__ = ("concept", "doubt", "following")

    def __init__(self) -> None:
        self.concept = _NOTHING
        self.doubt = _Doubt.NONE
        self.following: dict[str, _Node] = {}


class Matcher:
    """Finds forms in captions; built once per vocabulary from a mapping of forms to concept ids.

    A single word that is also a verb ("stands", "can"), a measure ("a couple of") or an adjective ("an
    orange shirt") counts only where its neighbours leave it a noun; see the tables in `word_tables`.
    Phrases always count.
    """

    def __init__(self, forms: Mapping[str, int]) -> None:
        root = _Node()
        for text, concept in forms.items():
            node = root
            for token in text.split(" "):
                node = node.following.setdefault(token, _Node())
            node.concept = concept
        self._first = root.following
        for table, doubt in _DOUBTS:
            for word in table & self._first.keys():
                self._first[word].doubt = doubt

    def find_all(self, caption: str) -> list[int]:
        """The concepts in order of appearance, with repetitions; no word belongs to two of them."""
        tokens = surface_forms.words(caption)
        first = self._first
        found = []
        at, end, previous_end = 0, len(tokens), -1
        while at < end:
            start = at
            node = first.get(tokens[at])
            at += 1
            if node is None:
                continue
            concept, doubt, reach = node.concept, node.doubt, at
            while reach < end and node.following:
                following = node.following.get(tokens[reach])
                if following is None:
                    break
                node = following
                reach += 1
                if node.concept != _NOTHING:
                    concept, doubt, at = node.concept, _Doubt.NONE, reach
            if concept != _NOTHING and not (
                doubt and self._is_no_noun(tokens, start, doubt, after_a_concept=previous_end == start)
            ):
                found.append(concept)
                previous_end = at
        return found

    def _is_no_noun(self, tokens: Sequence[str], at: int, doubt: _Doubt, *, after_a_concept: bool) -> bool:
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if doubt is _Doubt.MEASURE:
            return following == "of"
        if doubt is _Doubt.ADJECTIVE:
            return following in self._first
        word, previous = tokens[at], tokens[at - 1] if at else ""
        if previous == "to":
            return not _is_plural(word)
        if following in word_tables.OBJECT_MARKS or previous in word_tables.SUBJECTS:
            return True
        return after_a_concept and (word == "can" or word.endswith("s") != _is_plural(previous))


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
