"""How a caption may write a concept: words, plurals, spellings, compounds and sense notes, all by rule.

A text is compared by its words: case-folded, compatibility characters resolved, accents removed, hyphens and
underscores read as spaces. Other punctuation stays as a token, so that no phrase is found across it.
`RULES` numbers the rules; it is part of the hash of every vocabulary, since matching depends on them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from cocu.curation import word_tables

RULES = 1
"""Raised whenever a rule of this module or of the matching changes what is found in a caption."""

_TOKEN = re.compile(r"[^\W_]+(?:'(?!s\b)[^\W_]+)*|'s\b|[^\w\s'\-]")
_APOSTROPHES_AND_DASHES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": ","}
    | dict.fromkeys(["\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufe0e", "\ufe0f", "\ufeff"], None)
)
_COMBINING = re.compile("[\u0300-\u036f]+")
_SENSE_NOTE = re.compile(r"\s*\([^()]*\)\s*")

# How strong a claim to a form is: the smallest number wins. See `claims`.
NAME_AS_WRITTEN, NAME, SYNONYM, WITHOUT_NOTE, ALTERNATIVE = range(5)
BY_RULE = 10


def words(text: str) -> list[str]:
    """The tokens that a text is compared by, in linear time, whatever the characters.

    A possessive gives the two tokens "dog" and "'s"; "&" reads "and".
    """
    if not text.isascii():
        text = _COMBINING.sub("", unicodedata.normalize("NFKD", text).translate(_APOSTROPHES_AND_DASHES))
    if "&" in text:
        text = text.replace("&", " and ")
    return _TOKEN.findall(text.casefold())


def form(text: str) -> str:
    """The text as forms are written: its words, joined by one space."""
    return " ".join(words(text))


def plural(word: str) -> str:
    """The plural of one lower-case noun; a plural-only or unchanging noun is returned as it is."""
    if word in word_tables.UNCHANGING:
        return word
    return _irregular_plural(word) or _regular_plural(word)


def _irregular_plural(word: str) -> str | None:
    if word in word_tables.F_TO_VES:
        return re.sub("fe?$", "ves", word)
    if word not in word_tables.REGULAR_DESPITE_ENDING:
        for ending, plural_ending in word_tables.IRREGULAR_ENDINGS.items():
            if word.endswith(ending):
                return word[: -len(ending)] + plural_ending
    return word_tables.IRREGULAR.get(word)


def _regular_plural(word: str) -> str:
    if re.search("[^aeiou]y$", word):
        return word[:-1] + "ies"
    if word in word_tables.O_TO_OES or re.search("(s|x|z|ch|sh)$", word):
        return word + "es"
    return word + "s"


def singulars(word: str) -> list[str]:
    """The words whose plural this is by the rules, the likeliest first; none for a singular."""
    if word in word_tables.UNCHANGING - word_tables.IRREGULAR_PLURALS:
        return []
    stems = [word[:-1], word[:-2]] if word.endswith("s") and not word.endswith("ss") else []
    if word.endswith("ies"):
        stems.insert(0, word[:-3] + "y")
    if word.endswith("ves"):
        stems += [word[:-3] + "f", word[:-3] + "fe"]
    for ending, plural_ending in word_tables.IRREGULAR_ENDINGS.items():
        if word.endswith(plural_ending) and ending != plural_ending:
            stems.insert(0, word.removesuffix(plural_ending) + ending)
    stems += [singular for singular, plural_form in word_tables.IRREGULAR.items() if plural_form == word]
    return [stem for stem in stems if len(stem) > 1 and plural(stem) == word]


def plurals(phrase: str) -> list[str]:
    """The plurals of a phrase: of its head, the last word or the word before "of", "in", "with", …"""
    tokens = phrase.split(" ")
    head = next(
        (at - 1 for at, token in enumerate(tokens) if at and token in word_tables.PREPOSITIONS),
        len(tokens) - 1,
    )
    if not tokens[head].isalpha():
        return []
    variants = [plural(tokens[head]), *word_tables.SECOND_PLURALS.get(tokens[head], ())]
    return [
        " ".join([*tokens[:head], variant, *tokens[head + 1 :]])
        for variant in variants
        if variant != tokens[head]
    ]


def spellings(phrase: str) -> list[str]:
    """The phrase in British and in American spelling, where they differ from it."""
    tokens = phrase.split(" ")
    found = []
    for table in (word_tables.TO_BRITISH, word_tables.TO_AMERICAN):
        variant = " ".join(table.get(token, token) for token in tokens)
        if variant != phrase:
            found.append(variant)
    return found


def compounds(phrase: str) -> list[str]:
    """The phrase written solid ("teddybear") if of two words, or open ("skate board") if a compound."""
    tokens = phrase.split(" ")
    if len(tokens) == 2 and all(token.isalpha() and len(token) > 1 for token in tokens):
        return ["".join(tokens)]
    if len(tokens) == 1:
        for part in word_tables.COMPOUND_ENDINGS:
            stem = phrase.removesuffix(part)
            if stem != phrase and len(stem) >= 3 and stem not in word_tables.NO_COMPOUND_STEMS:
                return [f"{stem} {part}"]
    return []


def readings(name: str) -> Iterator[tuple[str, int]]:
    """The ways to read a written name, as forms with the strength of their claim.

    "bow (weapon)" also reads "bow"; "barrel/bucket" also "barrel" and "bucket"; "cutting/chopping board" also
    "cutting board" and "chopping board".
    """
    yield form(name), NAME_AS_WRITTEN if form(name) == name else NAME
    parts = [part for part in _SENSE_NOTE.split(name) if part.strip()]
    if parts != [name]:
        yield from ((form(part), WITHOUT_NOTE) for part in parts)
    for part in parts:
        alternatives = part.split("/")
        if len(alternatives) > 1 and all(words(alternative) for alternative in alternatives):
            rest = words(alternatives[-1])[1:]
            share_the_rest = all(len(words(alternative)) == 1 for alternative in alternatives[:-1])
            for alternative in alternatives[:-1]:
                yield " ".join([*words(alternative), *(rest if share_the_rest else [])]), ALTERNATIVE
            yield form(alternatives[-1]), ALTERNATIVE


def variants(phrase: str) -> list[str]:
    """All forms that the rules make of a form, without itself: spellings, compounds, plurals of all these."""
    found: dict[str, None] = {phrase: None}
    for rule in (spellings, compounds, plurals):
        for known in list(found):
            found.update(dict.fromkeys(rule(known)))
    if "'s" in phrase:
        for known in list(found):
            found[known.replace(" 's", "")] = None
            found[known.replace(" 's", "s")] = None
    del found[phrase]
    return list(found)


def claims(name: str, synonyms: Iterable[str]) -> dict[str, int]:
    """Every form of a concept with the strength of its claim to it (small is strong)."""
    stated: dict[str, int] = {}
    for text, strength in readings(name):
        stated[text] = min(strength, stated.get(text, strength))
    for synonym in synonyms:
        for text, strength in readings(synonym):
            claim = max(strength, SYNONYM)
            stated[text] = min(claim, stated.get(text, claim))
    stated.pop("", None)
    derived: dict[str, int] = {}
    for text, strength in stated.items():
        for variant in variants(text):
            derived[variant] = min(strength + BY_RULE, derived.get(variant, strength + BY_RULE))
    return derived | stated
