"""A vocabulary after feedback: blocked concepts are left out, merged ones give their forms to others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from cocu.curation.vocabulary import Concept, Vocabulary

__all__ = ["apply_feedback", "follow_merges"]


def follow_merges(merged: Mapping[str, str], concept: str) -> Iterator[str]:
    """Yield what a concept is merged into, what that is merged into, and so on.

    Raises ValueError when a concept comes again; the message shows the way round.
    """
    way = [concept]
    while way[-1] in merged:
        target = merged[way[-1]]
        if target in way:
            circle = " → ".join(repr(name) for name in [*way[way.index(target) :], target])
            raise ValueError(f"the merges go round in a circle: {circle}")
        way.append(target)
        yield target


def apply_feedback(
    vocabulary: Vocabulary, *, blocked: Collection[str], merged: Mapping[str, str]
) -> Vocabulary:
    """Return the vocabulary without the blocked and the merged concepts; names are those of concepts.

    A merged concept gives its forms to the one that it is merged into, along a chain of merges to its end. If
    that is blocked, it is left out with it: who merged two concepts said that they are one. Everything else
    stays: name, version, templates, segmenter, and the forms of other concepts. A shorter form that words of
    a blocked concept contain is found in them from now on ("dog" in "hot dog").

    Raises:
        ValueError: a name is no concept of the vocabulary, merges go round in a circle, or a concept is both
            blocked and merged.
    """
    for name in (*blocked, *merged, *merged.values()):
        if name not in vocabulary.ids_by_name:
            raise ValueError(f"the vocabulary has no concept {name!r}")
    for name in blocked:
        if name in merged:
            raise ValueError(f"{name!r} is blocked and merged; say one of the two")
    ends = {name: [*follow_merges(merged, name)][-1] for name in merged}
    moved: dict[str, list[str]] = {}
    for name, end in ends.items():
        moved.setdefault(end, []).extend(vocabulary.concepts[vocabulary.ids_by_name[name]].forms)
    concepts = [
        Concept(concept.name, tuple(sorted({*concept.forms, *moved[concept.name]})))
        if concept.name in moved
        else concept
        for concept in vocabulary.concepts
        if concept.name not in blocked and concept.name not in merged
    ]
    return replace(vocabulary, concepts=tuple(concepts)) if blocked or merged else vocabulary
