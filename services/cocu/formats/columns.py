"""Which column of a table is what: as the caller says, else by the names that columns usually have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from cocu.errors import InvalidInputError
from cocu.text.columns import CAPTION, IMAGE, KEY, PATH, URL, is_header, looks_like_path, looks_like_url

__all__ = [
    "CAPTION",
    "IMAGE",
    "KEY",
    "PATH",
    "URL",
    "Columns",
    "is_header",
    "looks_like_path",
    "looks_like_url",
    "pick",
]


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


def pick(names: Sequence[str], usual: Sequence[str], requested: str | None) -> str | None:
    """The column asked for, else the first of the usual ones, else None.

    Raises InvalidInputError, naming what there is, when the one asked for is missing or there twice.
    """
    if requested is not None:
        if names.count(requested) != 1:
            wrong = "are two columns" if requested in names else "is no column"
            known = ", ".join(map(repr, names[:20])) or "none"
            raise InvalidInputError(f"there {wrong} {requested!r} to use as that; there are: {known}")
        return requested
    lower = [name.lower() for name in names]
    for name in usual:
        if lower.count(name) == 1:
            return names[lower.index(name)]
    return None
