"""Forms in a caption: the longest match from left to right, over a trie of words."""

from __future__ import annotations

from collections.abc import Mapping

from cocu.curation import surface_forms

_NOTHING = -1


class _Node:
    """What may follow the words so far, and the concept that they name, if any."""

    __slots__ = ("concept", "following")

    def __init__(self) -> None:
        self.concept = _NOTHING
        self.following: dict[str, _Node] = {}


class Matcher:
    """Finds forms in captions; built once per vocabulary from a mapping of forms to concept ids."""

    def __init__(self, forms: Mapping[str, int]) -> None:
        root = _Node()
        for text, concept in forms.items():
            node = root
            for token in text.split(" "):
                node = node.following.setdefault(token, _Node())
            node.concept = concept
        self._first = root.following

    def find_all(self, caption: str) -> list[int]:
        """The concepts in order of appearance, with repetitions; no word belongs to two of them."""
        tokens = surface_forms.words(caption)
        first = self._first
        found = []
        at, end = 0, len(tokens)
        while at < end:
            node = first.get(tokens[at])
            at += 1
            if node is None:
                continue
            concept, reach = node.concept, at
            while reach < end and node.following:
                following = node.following.get(tokens[reach])
                if following is None:
                    break
                node = following
                reach += 1
                if node.concept != _NOTHING:
                    concept, at = node.concept, reach
            if concept != _NOTHING:
                found.append(concept)
        return found
