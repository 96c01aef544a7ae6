"""Captions that name one or two of the things in a scene, as people do: large and central things first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from cocu_scenes.concepts import SceneObject, backgrounds, object_ids, objects
from cocu_scenes.truth import Placed

# Chances that a caption names two things rather than one, and that it names the background.
TWO_THINGS = 0.55
BACKGROUND = 0.35
_SYNONYM = 0.25
_BARE = 0.08

_NUMBERS = {2: "two", 3: "three", 4: "four"}
_DETERMINERS = ("a", "a", "a", "a", "the", "one", "this")
_WITH_PLACE = (
    "{things} {place}",
    "{things} {place}",
    "a shot of {things} {place}",
    "there is {things} {place}",
    "here we have {things} {place}",
    "{place}: {things}",
    "a view of {things} {place}",
    "look, {things} {place}!",
    "{place} we found {things}.",
)
_WITHOUT_PLACE = (
    "{things}",
    "a shot of {things}",
    "seen today: {things}",
    "this is {things}",
    "look at {things}",
    "I like {things}",
    "here you see {things}",
    "just {things}, nothing else to say",
    "{things}, taken this morning",
    "another shot of {things}",
)
_JOINTS = (
    "{first} and {second}",
    "{first} and {second}",
    "{first} with {second}",
    "{first} next to {second}",
    "{first} near {second}",
    "{first} beside {second}",
    "{first}, {second}",
    "{first} together with {second}",
)


def choose_named(rng: np.random.Generator, placed: Sequence[Placed], side: int) -> list[str]:
    """Draw one or two names of things; the probability grows with visible area and nearness to the centre."""
    salience: defaultdict[str, float] = defaultdict(float)
    for thing in placed:
        left, top, right, bottom = thing.box
        area = thing.visible * (right - left) * (bottom - top) / side**2
        off_centre = np.hypot((left + right) / (2 * side) - 0.5, (top + bottom) / (2 * side) - 0.5)
        salience[thing.name] += float(area * (1.2 - off_centre))
    names = sorted(salience)
    weights_K = np.array([salience[name] for name in names])
    count = min(len(names), 2 if rng.random() < TWO_THINGS else 1)
    return [
        names[i] for i in rng.choice(len(names), size=count, replace=False, p=weights_K / weights_K.sum())
    ]


def write_caption(
    rng: np.random.Generator, named: Sequence[str], placed: Sequence[Placed], background: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return a sentence on the things and, at times, the background (never if None), and the names in it."""
    counts = Counter(thing.name for thing in placed)
    with_place = rng.random() < BACKGROUND and background is not None
    if not with_place and rng.random() < _BARE:
        return _form(rng, objects()[object_ids()[named[0]]], several=counts[named[0]] > 1), (named[0],)
    phrases = [_noun_phrase(rng, objects()[object_ids()[name]], counts[name]) for name in named]
    things = phrases[0]
    if len(phrases) == 2:
        things = _pick(rng, _JOINTS).format(first=phrases[0], second=phrases[1])
    if not with_place:
        return _sentence(rng, _pick(rng, _WITHOUT_PLACE).format(things=things)), tuple(named)
    name, phrases_of_place = next((b.name, b.phrases) for b in backgrounds() if b.name == background)
    sentence = _pick(rng, _WITH_PLACE).format(things=things, place=_pick(rng, phrases_of_place))
    return _sentence(rng, sentence), (*named, name)


def _noun_phrase(rng: np.random.Generator, thing: SceneObject, count: int) -> str:
    if thing.article is not None:
        determiner = thing.article if rng.random() < 0.7 else "the"
        return f"{determiner} {_form(rng, thing, several=True)}"
    if count > 1:
        number = (
            _NUMBERS.get(count, "several")
            if rng.random() < 0.7
            else _pick(rng, ("some", "several", "many", "the"))
        )
        return f"{number} {_form(rng, thing, several=True)}"
    word = _form(rng, thing, several=False)
    determiner = _pick(rng, _DETERMINERS)
    return f"an {word}" if determiner == "a" and word[0] in "aeiou" else f"{determiner} {word}"


def _form(rng: np.random.Generator, thing: SceneObject, *, several: bool) -> str:
    synonyms = thing.forms[1:]
    singular, plural = (
        synonyms[rng.integers(len(synonyms))] if synonyms and rng.random() < _SYNONYM else thing.forms[0]
    )
    return plural if several else singular


def _sentence(rng: np.random.Generator, words: str) -> str:
    style = rng.random()
    if style < 0.4:
        words = words[0].upper() + words[1:]
    return words + "." if style < 0.25 and words[-1].isalpha() else words


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
