"""Names that users give to datasets, vocabularies and runs: one line, equal in every store."""

from __future__ import annotations

import re
import unicodedata

UNFIT = "\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
"""Control characters, line ends, marks that change the direction of writing, lone surrogates."""

_UNFIT = re.compile(f"[{UNFIT}]")


def check_text(text: str) -> str:
    """Return the text unchanged. Raises ValueError for a character that names may not have."""
    match = _UNFIT.search(text)
    if match is not None:
        code = ord(match[0])
        name = unicodedata.name(match[0], "a control character" if code < 0xD800 else "half a character")
        raise ValueError(
            f"it holds U+{code:04X} ({name.lower()}) at {match.start() + 1}; names are one line without "
            "control characters and marks that change the direction of writing"
        )
    return text


def check_name(name: str) -> str:
    """The name in NFC, so that names that look equal are equal. Raises ValueError like `check_text`.

    >>> check_name("cafe\\u0301")
    'café'
    """
    composed = unicodedata.normalize("NFC", check_text(name))
    if not composed.strip():
        raise ValueError("it holds nothing but white space")
    return composed
