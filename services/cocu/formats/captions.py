"""Bytes or text → caption that every store of the platform can hold.

What changes, and nothing else: a byte order mark is read and dropped; bytes in no encoding that fits (see
`cocu.text.encodings`) and lone surrogates become U+FFFD; NUL is dropped, which PostgreSQL
cannot hold; white space at both ends is dropped. Newlines, tabs, markup, emoji and right-to-left marks
within stay as they are: whoever shows a caption escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cocu.formats.limits import DEFAULT_LIMITS, Limits
from cocu.formats.rejections import Reason
from cocu.text.columns import IN_ITEMS
from cocu.text.encodings import Tally, decode_text

MOST_NESTED = 4
"""Lists and objects around a caption in JSON; deeper ones hold something else."""


@dataclass(frozen=True)
class BadCaption:
    """Why a caption cannot be used."""

    reason: Reason
    detail: str


def clean_caption(
    raw: bytes | str, *, limits: Limits = DEFAULT_LIMITS, tally: Tally | None = None
) -> str | BadCaption:
    """A caption as the platform keeps it, or why not. Raises nothing for any bytes or text.

    tally: counts what had to be guessed or was lost of bytes; an archive's go through a `Decoder` first.
    """
    size = len(raw) if isinstance(raw, bytes) else len(raw.encode("utf-8", "replace"))
    if size > limits.max_caption_bytes:
        return BadCaption(Reason.CAPTION_TOO_LONG, f"{size} bytes; the limit is {limits.max_caption_bytes}")
    text = (tally or Tally()).text(decode_text(raw)) if isinstance(raw, bytes) else raw.removeprefix("\ufeff")
    text = storable(text).strip()
    return text or BadCaption(Reason.EMPTY_CAPTION, "nothing but white space")


def stated_captions(value: object, depth: int = MOST_NESTED) -> list[str]:
    """The captions that a JSON value states: a text, texts in lists, or what objects hold under usual names.

    >>> stated_captions([{"text": "a dog", "tokens": ["a", "dog"]}, "a cat"])
    ['a dog', 'a cat']
    """
    if isinstance(value, str):
        return [value]
    if depth > 0 and isinstance(value, list):
        return [caption for item in value for caption in stated_captions(item, depth - 1)]
    if depth > 0 and isinstance(value, dict):
        fields = (stated_captions(value[name], depth - 1) for name in IN_ITEMS if name in value)
        return next((captions for captions in fields if any(map(str.strip, captions))), [])
    return []


def storable(text: str) -> str:
    """Text without NUL and lone surrogates, which databases and UTF-8 cannot hold."""
    # "replace" would write "?", which could be meant; a surrogate pair becomes the character it stands for.
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", "")
