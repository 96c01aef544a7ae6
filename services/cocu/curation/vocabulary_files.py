"""Reading vocabularies that people write: lines of text, or JSON, with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


def parse_lines(text: str) -> Iterator[Entry]:
    """Entries of lines `name` or `name = synonym, synonym`; empty lines and what follows a `#` are skipped.

    Raises:
        ValueError: nothing stands before or after a "=", or between two commas; says the line.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.split("#", 1)[0].strip()
        if stripped:
            yield parse_entry(stripped, where=f"line {number}: ")


def parse_entry(line: str, *, where: str = "") -> Entry:
    """The entry that one line states.

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
    """A vocabulary document.

    An object with `concepts` and, if wanted, `name`, `version` and `templates`. Concepts are a list, or an
    object of lists by theme; each is a line as in `parse_lines`, or an object with `name` and `synonyms`.
    Objects with `name` and `forms`, as `Vocabulary.to_json` writes them, are taken as they are, without
    applying rules.

    Raises:
        ValueError: the text is not JSON or not of this shape; says where.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("not a vocabulary: the JSON is nested too deeply") from error
    if not isinstance(document, dict) or "concepts" not in document:
        raise ValueError('a vocabulary in JSON is an object with "concepts"')
    name, version = str(document.get("name", "vocabulary")), str(document.get("version", "1"))
    templates = tuple(_strings(document.get("templates", ["a photo of a {}"]), "templates"))
    if document.get("format") == FORMAT:
        listed = document["concepts"]
        if not isinstance(listed, list):
            raise ValueError("concepts: must be a list")
        stated = tuple(_complete_concept(item, f"concepts[{at}]") for at, item in enumerate(listed))
        return Document(name, version, templates, None, stated)
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
    for at, item in enumerate(listed):
        place = f"{where}[{at}]"
        if isinstance(item, str):
            yield parse_entry(item, where=f"{place}: ")
        elif isinstance(item, dict) and isinstance(item.get("name"), str):
            yield Entry(
                item["name"], tuple(_strings(item.get("synonyms", []), f"{place}.synonyms")), f"{place}: "
            )
        else:
            raise ValueError(f'{place}: must be a text or an object with "name", not {type(item).__name__}')


def _complete_concept(item: Any, where: str) -> tuple[str, tuple[str, ...]]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise ValueError(f'{where}: must be an object with "name" and "forms"')
    return item["name"], tuple(_strings(item.get("forms"), f"{where}.forms"))


def _strings(listed: Any, where: str) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{where}: must be a list of texts")
    return listed
