"""The concepts of scenes: backgrounds, objects, their words, and the themes that combine objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

Size = Literal["small", "medium", "large"]
Place = Literal["ground", "air", "water"]


@dataclass(frozen=True, kw_only=True)
class Background:
    """A kind of surrounding, and the phrases with which captions name it."""

    name: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """A kind of thing.

    Guarantees: `forms` begins with (name, plural); further pairs are synonyms. `article` is set for things
    that are not counted ("some bread", "a pair of scissors"). `recolour`: the thing may have any hue.
    """

    name: str
    emoji: str
    size: Size
    place: Place
    forms: tuple[tuple[str, str], ...]
    article: str | None
    recolour: bool


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Objects that are often seen together, and the backgrounds they are seen on."""

    name: str
    scenes: tuple[str, ...]
    objects: tuple[str, ...]


@cache
def _document() -> dict[str, Any]:
    text = resources.files("cocu_scenes").joinpath("concepts.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def backgrounds() -> tuple[Background, ...]:
    """All backgrounds, in the order of their mask values (from 0)."""
    return tuple(Background(name=b["name"], phrases=tuple(b["phrases"])) for b in _document()["backgrounds"])


@cache
def objects() -> tuple[SceneObject, ...]:
    """All objects, in the order of their mask values (after the backgrounds) and of the sprite atlas."""
    return tuple(
        SceneObject(
            name=o["name"],
            emoji=o["emoji"],
            size=o["size"],
            place=o["place"],
            forms=(
                (o["name"], o["plural"]),
                *((singular, plural) for singular, plural in o.get("synonyms", ())),
            ),
            article=o.get("article"),
            recolour=o.get("recolour", False),
        )
        for o in _document()["objects"]
    )


@cache
def themes() -> tuple[Theme, ...]:
    """All themes; every object belongs to at least one."""
    return tuple(
        Theme(name=t["name"], scenes=tuple(t["scenes"]), objects=tuple(t["objects"]))
        for t in _document()["themes"]
    )


@cache
def class_names() -> tuple[str, ...]:
    """Names by mask value: first the backgrounds, then the objects."""
    return (*(b.name for b in backgrounds()), *(o.name for o in objects()))


@cache
def object_ids() -> dict[str, int]:
    """Position of every object in `objects()`."""
    return {o.name: i for i, o in enumerate(objects())}
