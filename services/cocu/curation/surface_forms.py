"""Surface forms: how a caption may write a concept, by rules on plurals, spellings, compounds, sense notes.

A text is compared by its words: case-folded, compatibility characters resolved, accents removed, hyphens and
underscores read as spaces. Other punctuation stays as a token, so that no phrase is found across it.
`RULES` numbers the rules; it is part of the hash of every vocabulary, since matching depends on them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from cocu.curation import segmentation, word_tables

RULES = 1
"""The version of the rules: raise it when a change of rules or matching changes what captions name."""

TOKEN = re.compile(r"[^\W_]+(?:'(?!s\b)[^\W_]+)*|'s\b|[^\w\s'\-]")
"""A token of a text as `comparable` returns it."""

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
    """Split a text into the tokens that it is compared by, in linear time for any characters.

    A possessive gives the two tokens "dog" and "'s"; "&" reads "and".
    """
    return TOKEN.findall(comparable(text))


def comparable(text: str) -> str:
    """Return a text without what comparison ignores: case, accents, compatibility characters."""
    if not text.isascii():
        text = _COMBINING.sub("", unicodedata.normalize("NFKD", text).translate(_APOSTROPHES_AND_DASHES))
    if "&" in text:
        text = text.replace("&", " and ")
    return text.casefold()


def form(text: str) -> str:
    """Return the text as forms are written: its words, joined by one space."""
    return " ".join(words(text))


def segmented_words(text: str) -> tuple[list[str], list[bool]]:
    """Split a text in scripts without spaces into tokens, and say of each whether a word ends with it.

    Every character of such a script is a token: so a form is found wherever its first and last character are
    the ends of words, whether it is one word or several.
    """
    tokens: list[str] = []
    ends: list[bool] = []
    for piece in pieces(segmentation.normalized(text)):
        if segmentation.UNSPACED.match(piece):
            for word in segmentation.words_of(piece):
                tokens += word
                ends += [False] * (len(word) - 1) + [True]
        else:
            spaced = words(piece)
            tokens += spaced
            ends += [True] * len(spaced)
    return tokens, ends


def unspaced_form(text: str) -> str:
    """Return a text in scripts without spaces as forms are written: runs of these scripts stay whole."""
    return " ".join(
        word
        for piece in pieces(segmentation.normalized(text))
        for word in ([piece] if segmentation.UNSPACED.match(piece) else words(piece))
    )


def unspaced_tokens(form: str) -> list[str]:
    """Split a form that `unspaced_form` wrote into the tokens of `segmented_words`."""
    return [
        token
        for word in form.split(" ")
        for token in (word if segmentation.UNSPACED.fullmatch(word) else [word])
    ]


def pieces(text: str) -> Iterator[str]:
    """Split a text at the borders of the runs in scripts without spaces; the parts, joined, are the text."""
    position = 0
    for run in segmentation.UNSPACED.finditer(text):
        if run.start() > position:
            yield text[position : run.start()]
        yield run[0]
        position = run.end()
    if position < len(text):
        yield text[position:]


def plural(word: str) -> str:
    """Return the plural of one lower-case noun; a plural-only or unchanging noun is returned as it is."""
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
    """Return the words whose plural by the rules is this word, the likeliest first; none for a singular."""
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
    """Return the plurals of a phrase: its head is the last word or the word before "of", "in", "with", …"""
    tokens = phrase.split(" ")
    head = next(
        (
            position - 1
            for position, token in enumerate(tokens)
            if position and token in word_tables.PREPOSITIONS
        ),
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
    """Return the phrase in British and in American spelling, where they differ from it."""
    tokens = phrase.split(" ")
    respelled = []
    for table in (word_tables.TO_BRITISH, word_tables.TO_AMERICAN):
        variant = " ".join(table.get(token, token) for token in tokens)
        if variant != phrase:
            respelled.append(variant)
    return respelled


def compounds(phrase: str) -> list[str]:
    """Return two words written solid ("teddybear"), or a compound written open ("skate board")."""
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
    """Yield the ways to read a written name, as forms with the strength of their claim.

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
    """Return all forms that the rules derive from a form: spellings, compounds, and the plurals of all."""
    forms: dict[str, None] = {phrase: None}
    for rule in (spellings, compounds, plurals):
        for base in list(forms):
            forms.update(dict.fromkeys(rule(base)))
    if "'s" in phrase:
        for base in list(forms):
            forms[base.replace(" 's", "")] = None
            forms[base.replace(" 's", "s")] = None
    del forms[phrase]
    return list(forms)


def segmented_claims(name: str, synonyms: Iterable[str]) -> dict[str, int]:
    """Return the `claims` of a concept where captions are segmented.

    A name or synonym in scripts without spaces has its own form only: no plurals, no spellings.
    """
    spaced = [synonym for synonym in synonyms if not segmentation.is_unspaced(synonym)]
    unspaced = [synonym for synonym in synonyms if segmentation.is_unspaced(synonym)]
    named: dict[str, int] = {}
    for synonym in unspaced:
        named[unspaced_form(synonym)] = SYNONYM
    if not segmentation.is_unspaced(name):
        return claims(name, spaced) | named
    for text, strength in claims("", spaced).items():
        named.setdefault(text, strength)
    own = unspaced_form(name)
    for part in _SENSE_NOTE.split(segmentation.normalized(name)):
        for alternative in part.split("/"):
            text = unspaced_form(alternative)
            named[text] = min(named.get(text, WITHOUT_NOTE), WITHOUT_NOTE)
    named[own] = NAME_AS_WRITTEN if own == name else NAME
    named.pop("", None)
    return named


def claims(name: str, synonyms: Iterable[str]) -> dict[str, int]:
    """Return every form of a concept with the strength of its claim to the form (small is strong)."""
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
