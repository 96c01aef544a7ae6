"""What an uploader may choose about how a file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cocu.errors import InvalidInputError
from cocu.formats.columns import Columns
from cocu.schemas.formats import FORMAT_NAMES


class CaptionChoice(StrEnum):
    """Which captions of an image that has several become samples.

    first: the one that comes first in the file. random: one drawn by the sample's key alone, the same at
    every reading. all: every one, with keys `key-0`, `key-1`, … and the same image.
    """

    FIRST = "first"
    RANDOM = "random"
    ALL = "all"


SHORT_SIDES = range(16, 8193)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a file.

    format: None to detect it. short_side: images whose shorter side has more pixels are made this small,
    once and for all, and written as JPEG of quality 90; None keeps every image as it came. fetch: whether
    images that are given by URL may be fetched. encoder: the file holds embeddings that this encoder (its
    name or hash) made, instead of images. Raises InvalidInputError for an unknown format,
    a side out of `SHORT_SIDES`, and an encoder without embeddings or the reverse.
    """

    format: str | None = None
    captions: CaptionChoice = CaptionChoice.FIRST
    columns: Columns = field(default_factory=Columns)
    short_side: int | None = None
    fetch: bool = False
    encoder: str | None = None

    def __post_init__(self) -> None:
        if self.short_side is not None and self.short_side not in SHORT_SIDES:
            raise InvalidInputError(
                f"short_side is {self.short_side}; it must be {SHORT_SIDES[0]} to {SHORT_SIDES[-1]} pixels"
            )
        if self.format is not None and self.format not in FORMAT_NAMES:
            raise InvalidInputError(f"format is {self.format!r}; it must be one of {', '.join(FORMAT_NAMES)}")
        ready = self.format == "clip-retrieval"
        if ready and self.encoder is None:
            raise InvalidInputError(
                f"format {self.format} holds embeddings; say with the option encoder which encoder made them"
            )
        if self.encoder is not None and not ready and self.format is not None:
            raise InvalidInputError(
                f"the option encoder is for ready embeddings, and format {self.format} holds images; "
                "leave one of the two out"
            )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ReadOptions:
        """Read what `to_json` wrote. Raises InvalidInputError for values that are not options."""
        try:
            return cls(
                format=stored.get("format") or None,
                captions=CaptionChoice(stored.get("captions", CaptionChoice.FIRST)),
                columns=Columns(**stored.get("columns", {})),
                short_side=stored.get("short_side"),
                fetch=bool(stored.get("fetch", False)),
                encoder=stored.get("encoder"),
            )
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"these are no options of a reader: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The choices that differ from the defaults, of plain types."""
        chosen: dict[str, Any] = {
            "format": self.format,
            "captions": str(self.captions) if self.captions is not CaptionChoice.FIRST else None,
            "columns": self.columns.stated() or None,
            "short_side": self.short_side,
            "fetch": self.fetch or None,
            "encoder": self.encoder,
        }
        return {name: value for name, value in chosen.items() if value is not None}


DEFAULT_OPTIONS = ReadOptions()
