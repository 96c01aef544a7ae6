"""Files of vocabularies that people write: lines of text, or JSON, with errors that name the line or item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cocu.curation.strict_json import parse_strict

FORMAT = "cocu vocabulary 1"


@dataclass(frozen=True)
class Entry:
    """A concept as its author states it; `where` ("line 12: ") begins an error message about it."""

    name: str
    synonyms: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Document:
    """A vocabulary as read from JSON: entries to apply the rules to, or concepts with all their forms."""

    name: str
    version: str
    templates: tuple[str, ...]
    entries: tuple[Entry, ...] | None
    concepts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    segmenter: str | None = None


def parse_lines(text: str) -> Iterator[Entry]:
    """Entries of lines `name` or `name = synonym, synonym`; empty lines and what follows a `#` are skipped.

    Raises:
        ValueError: a line has nothing before or after a "=", or between two commas; the message names it.
    """
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.split("#", 1)[0].strip()
        if stripped:
            yield parse_entry(stripped, where=f"line {number}: ")


def parse_entry(line: str, *, where: str = "") -> Entry:
    """Parse the entry of one line.

    Raises:
        ValueError: see `parse_lines`.
    """
    name, equals, rest = line.partition("=")
    synonyms = [" ".join(synonym.split()) for synonym in rest.split(",")] if equals else []
    name = " ".join(name.split())
    if not name:
        raise ValueError(f"{where}there is no concept before the '='; write: name = synonym, synonym")
    if not all(synonyms):
        raise ValueError(f"{where}an empty synonym of {name!r}; write: name = synonym, synonym")
    return Entry(name, tuple(synonyms), where)


def parse_json(text: str) -> Document:
    """Parse a vocabulary document.

    It is an object with `concepts` and optional `name`, `version` and `templates`. Concepts are a list, or an
    object of lists by theme; each is a line as in `parse_lines`, or an object with `name` and `synonyms`.
    Objects with `name` and `forms`, as `Vocabulary.to_json` writes them, are read without applying rules.

    Raises:
        ValueError: the text is not JSON (see `parse_strict`) or not of this shape; the message says where.
    """
    document = parse_strict(text)
    if not isinstance(document, dict) or "concepts" not in document:
        raise ValueError('a vocabulary in JSON is an object with "concepts"')
    name, version = str(document.get("name", "vocabulary")), str(document.get("version", "1"))
    templates = tuple(_strings(document.get("templates", ["a photo of a {}"]), "templates"))
    if document.get("format") == FORMAT:
        listed = document["concepts"]
        if not isinstance(listed, list):
            raise ValueError("concepts: must be a list")
        stated = tuple(_complete_concept(item, f"concepts[{index}]") for index, item in enumerate(listed))
        segmenter = document.get("segmenter")
        return Document(name, version, templates, None, stated, None if segmenter is None else str(segmenter))
    return Document(name, version, templates, tuple(_entries(document["concepts"], "concepts")))


def _entries(listed: Any, where: str) -> Iterator[Entry]:
    if isinstance(listed, dict):
        for theme, themed in listed.items():
            yield from _listed_entries(themed, f"{where}.{theme}")
    else:
        yield from _listed_entries(listed, where)


def _listed_entries(listed: Any, where: str) -> Iterator[Entry]:
    if not isinstance(listed, list):
        raise ValueError(f"{where}: must be a list of concepts, or an object of such lists by theme")
    for index, item in enumerate(listed):
        item_where = f"{where}[{index}]"
        if isinstance(item, str):
            yield parse_entry(item, where=f"{item_where}: ")
        elif isinstance(item, dict) and isinstance(item.get("name"), str):
            yield Entry(
                item["name"],
                tuple(_strings(item.get("synonyms", []), f"{item_where}.synonyms")),
                f"{item_where}: ",
            )
        else:
            raise ValueError(
                f'{item_where}: must be a text or an object with "name", not {type(item).__name__}'
            )


def _complete_concept(item: Any, where: str) -> tuple[str, tuple[str, ...]]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise ValueError(f'{where}: must be an object with "name" and "forms"')
    return item["name"], tuple(_strings(item.get("forms"), f"{where}.forms"))


def _strings(listed: Any, where: str) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{where}: must be a list of texts")
    return listed
