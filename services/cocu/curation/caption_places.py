"""The tokens of a caption with their places: which characters of the text each token stands for.

Captions are compared without case, accents and compatibility characters, so a token and its characters in
the text can differ in number: "Ⅳ" is the token "iv". The text is therefore compared in units, the smallest
parts that normalisation never joins: a character with the combining marks after it. Every character of a
token belongs to one unit, and a place begins and ends at units, so it never cuts an accent off its letter.

Places are needed for a few captions at a time. The bulk of captions is matched without them, by
`surface_forms.words`; both give the same tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from cocu.curation import segmentation, surface_forms


class PlacedTokens(NamedTuple):
    """Tokens; token t stands for text[starts[t]:stops[t]], counted in code points.

    word_ends: whether a word ends with the token, as in `surface_forms.segmented_words`.
    """

    tokens: list[str]
    starts: list[int]
    stops: list[int]
    word_ends: list[bool]


def words(text: str) -> PlacedTokens:
    """Return the tokens of `surface_forms.words` with their places, in linear time."""
    characters, starts, stops = _compared(text, surface_forms.comparable)
    matches = list(surface_forms.TOKEN.finditer(characters))
    return PlacedTokens(
        tokens=[match[0] for match in matches],
        starts=[starts[match.start()] for match in matches],
        stops=[stops[match.end() - 1] for match in matches],
        word_ends=[True] * len(matches),
    )


def segmented_words(text: str) -> PlacedTokens:
    """Return the tokens of `surface_forms.segmented_words` with their places, in linear time."""
    normalize = partial(unicodedata.normalize, segmentation.normal_form(text))
    characters, starts, stops = _compared(text, normalize)
    placed = PlacedTokens([], [], [], [])
    begin = 0
    for piece in surface_forms.pieces(characters):
        in_piece = _unspaced(piece) if segmentation.UNSPACED.match(piece) else words(piece)
        placed.tokens.extend(in_piece.tokens)
        placed.starts.extend(starts[begin + start] for start in in_piece.starts)
        placed.stops.extend(stops[begin + stop - 1] for stop in in_piece.stops)
        placed.word_ends.extend(in_piece.word_ends)
        begin += len(piece)
    return placed


def _unspaced(run: str) -> PlacedTokens:
    """A run without spaces: every character is a token."""
    word_ends = [
        position == len(word) - 1 for word in segmentation.words_of(run) for position in range(len(word))
    ]
    return PlacedTokens(list(run), list(range(len(run))), list(range(1, len(run) + 1)), word_ends)


def _compared(text: str, transform: Callable[[str], str]) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return transform(text), and for each of its characters the start and the stop of its unit."""
    if text.isascii():
        characters = transform(text)
        if len(characters) == len(text):
            return characters, range(len(text)), range(1, len(text) + 1)
    parts: list[str] = []
    starts: list[int] = []
    stops: list[int] = []
    for start, stop in _units(text):
        part = transform(text[start:stop])
        parts.append(part)
        starts += [start] * len(part)
        stops += [stop] * len(part)
    return "".join(parts), starts, stops


def _units(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for position, character in enumerate(text):
        if position and _joins(character):
            continue
        if position:
            yield start, position
        start = position
    if text:
        yield start, len(text)


_FIRST_MARK = "\u0300"


def _joins(character: str) -> bool:
    """Whether normalisation may compose or reorder a character with the one before it."""
    if character < _FIRST_MARK:
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    # Marks, and the second and third letters of a Hangul syllable that is written in letters.
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"
