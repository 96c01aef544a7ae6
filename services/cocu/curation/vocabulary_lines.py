"""A vocabulary written a concept a line, for people to change: what `Vocabulary.from_lines` reads."""

from __future__ import annotations

from collections.abc import Iterator

from cocu.curation import surface_forms
from cocu.curation.vocabulary import DEFAULT_TEMPLATES, Concept, Vocabulary

__all__ = ["to_lines"]

MAX_NAMED = 20
"""Concepts named in the comment about those whose forms change."""
_ENDS_A_SYNONYM = frozenset(",#=")


def to_lines(vocabulary: Vocabulary) -> str:
    """Write a vocabulary as lines `name = synonym, synonym`, with only those synonyms that rules do not give.

    `Vocabulary.from_lines` reads them. It derives the forms by the rules, which is not always what the
    vocabulary has: feedback and documents may state any forms. Lines of concepts whose forms would change
    begin with a comment that names them. The time is that of building the vocabulary.

    Raises:
        ValueError: lines cannot say this: a name has a "#" or "=", or the prompt templates are not the usual
            ones; the message says which.
    """
    if vocabulary.templates != DEFAULT_TEMPLATES:
        raise ValueError(f"it has prompt templates of its own, such as {vocabulary.templates[0]!r}")
    for name in vocabulary.names:
        if "#" in name or "=" in name or name != " ".join(name.split()):
            raise ValueError(f"the name {name!r} has a character that ends a name in lines")
    lines = [_line(concept, segmented=vocabulary.segmenter is not None) for concept in vocabulary.concepts]
    return "".join(f"{line}\n" for line in [*_comments(vocabulary, lines), *lines])


def _line(concept: Concept, *, segmented: bool) -> str:
    claims = surface_forms.segmented_claims if segmented else surface_forms.claims
    missing = set(concept.forms) - set(claims(concept.name, ()))
    given = {form: set(claims("", (form,))) for form in sorted(missing) if not _ENDS_A_SYNONYM & set(form)}
    synonyms: list[str] = []
    while missing & given.keys():
        # The one from which the rules derive most of what is missing and least else; if equal, the shortest.
        best = max(
            (form for form in given if form in missing),
            key=lambda form: (len(given[form] & missing) - len(given[form] - {*concept.forms}), -len(form)),
        )
        synonyms.append(best)
        missing -= given[best]
    return f"{concept.name} = {', '.join(synonyms)}" if synonyms else concept.name


def _comments(vocabulary: Vocabulary, lines: list[str]) -> Iterator[str]:
    """Say which concepts are not the same once the lines are read."""
    try:
        again = Vocabulary.from_lines("\n".join(lines), name=vocabulary.name)
    except ValueError as error:
        yield f"# {' '.join(str(error).split())}"
        return
    changed = sorted({concept.name for concept in set(vocabulary.concepts) ^ set(again.concepts)})
    if changed:
        named = ", ".join(changed[:MAX_NAMED]) + (" …" if len(changed) > MAX_NAMED else "")
        yield f"# By the rules these have other forms than before ({len(changed):,}): {named}"
