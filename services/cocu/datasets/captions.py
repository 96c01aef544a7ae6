"""Bytes or text → caption that every store of the platform can hold.

What changes, and nothing else: a byte order mark is read and dropped; bytes that are not UTF-8 (or UTF-16
where a byte order mark says so) and lone surrogates become U+FFFD; NUL is dropped, which PostgreSQL
cannot hold; white space at both ends is dropped. Newlines, tabs, markup, emoji and right-to-left marks
within stay as they are: whoever shows a caption escapes it.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from cocu.datasets.limits import DEFAULT_LIMITS, Limits
from cocu.datasets.rejections import Reason


@dataclass(frozen=True)
class BadCaption:
    """Why a caption cannot be used."""

    reason: Reason
    detail: str


def clean_caption(raw: bytes | str, *, limits: Limits = DEFAULT_LIMITS) -> str | BadCaption:
    """A caption as the platform keeps it, or why not. Raises nothing for any bytes or text."""
    size = len(raw) if isinstance(raw, bytes) else len(raw.encode("utf-8", "replace"))
    if size > limits.max_caption_bytes:
        return BadCaption(Reason.CAPTION_TOO_LONG, f"{size} bytes; the limit is {limits.max_caption_bytes}")
    text = (_decode(raw) if isinstance(raw, bytes) else storable(raw.removeprefix("\ufeff"))).strip()
    return text or BadCaption(Reason.EMPTY_CAPTION, "nothing but white space")


def storable(text: str) -> str:
    """Text without NUL and lone surrogates, which databases and UTF-8 cannot hold."""
    # "replace" would write "?", which could be meant; a surrogate pair becomes the character it stands for.
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", "")


def _decode(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return storable(raw.decode("utf-16", "replace"))
    return storable(raw.decode("utf-8-sig", "replace"))
