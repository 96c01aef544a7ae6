"""Which column of a table is what: as the caller says, else by the names that columns usually have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from cocu.errors import InvalidInputError

KEY = ("key", "__key__", "uid", "id")
IMAGE = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes")
URL = ("url", "image_url", "img_url", "image_link")
CAPTION = ("caption", "text", "txt", "captions", "texts", "sentences", "sentences_raw", "alt_text")
FILE_NAME = ("file_name",)
"""Usual names in the order they are looked for, whatever their case."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns; of a table without a header their numbers from 0 on, as digits. None: look for it."""

    key: str | None = None
    image: str | None = None
    url: str | None = None
    caption: str | None = None

    def stated(self) -> dict[str, str]:
        """Those that are known, by role."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {role: name for role, name in named.items() if name is not None}


def pick(names: Sequence[str], usual: Sequence[str], asked: str | None) -> str | None:
    """The column asked for, else the first of the usual ones, else None.

    Raises InvalidInputError, naming what there is, when the one asked for is missing or there twice.
    """
    if asked is not None:
        if names.count(asked) != 1:
            wrong = "are two columns" if asked in names else "is no column"
            there = ", ".join(map(repr, names[:20])) or "none"
            raise InvalidInputError(f"there {wrong} {asked!r} to use as that; there are: {there}")
        return asked
    lower = [name.lower() for name in names]
    for name in usual:
        if lower.count(name) == 1:
            return names[lower.index(name)]
    return None


def has_header(names: Sequence[str], asked: Columns) -> bool:
    """Whether the first line of a table names its columns: one of them for URLs, as asked or as usual."""
    lower = [name.lower() for name in names]
    return asked.url in names or any(name in lower for name in URL)


def looks_like_url(field: str) -> bool:
    """Whether a field is an address of the web."""
    return field[:8].lower().startswith(("http://", "https://"))
