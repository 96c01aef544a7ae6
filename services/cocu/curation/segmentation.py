"""Segmentation of scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.

The dictionaries of ICU find the words; the result depends only on the text and the version of ICU. The extra
`segmentation` installs it (`icu4py`), and `version` returns the installed version. Without it a run of such
characters counts as one word, in which hardly any concept is found.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any, Literal

INSTALL = "pip install icu4py"

UNSPACED = re.compile(
    "["
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3005\u3007"  # Han
    "\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf"  # Thai, Lao
    "\u1780-\u17d3\u1000-\u103f\u1050-\u109f"  # Khmer, Burmese
    "]+"
)
"""A run of characters of such scripts."""

_COMPOSED_OF_PARTS = re.compile("[\u0e33\u0eb3]")
"""Vowels of Thai and Lao that NFKC splits into two characters. The dictionaries have them unsplit."""


def is_unspaced(text: str) -> bool:
    """Return whether a text contains characters of such scripts."""
    return not text.isascii() and UNSPACED.search(text) is not None


def version() -> str | None:
    """Return the installed segmenter, such as `icu 78.3`; None if there is none."""
    icu = _icu()
    return None if icu is None else f"icu {icu[0]}"


def normalized(text: str) -> str:
    """Return the text composed and, where possible, without compatibility characters (half-width kana)."""
    return unicodedata.normalize(normal_form(text), text)


def normal_form(text: str) -> Literal["NFC", "NFKC"]:
    """Return the Unicode form in which `normalized` returns the text."""
    return "NFC" if _COMPOSED_OF_PARTS.search(text) else "NFKC"


def words_of(run: str) -> list[str]:
    """Split a run into words, which joined are the run; without a segmenter the run is one word."""
    icu = _icu()
    return [run] if icu is None else [str(word) for word in icu[1](run, "en")]


@cache
def _icu() -> tuple[str, Any] | None:
    try:
        import icu4py  # noqa: PLC0415 - an extra
        from icu4py.breakers import WordBreaker  # noqa: PLC0415
    except ImportError:
        return None
    return str(icu4py.icu_version), WordBreaker
