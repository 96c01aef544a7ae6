"""Suggestions for an unknown name: the nearest known names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

MAX_NAMES = 5


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the part of an error message that suggests known names for an unknown one.

    >>> nearest("ViT-B-33", ["RN50", "ViT-B-16", "ViT-B-32"])
    'near it are ViT-B-32, ViT-B-16'
    >>> nearest("zzz", ["RN50", "ViT-B-16"])
    'there are RN50, ViT-B-16'
    """
    near_names = get_close_matches(name, known, n=MAX_NAMES)
    if near_names:
        return f"near it are {', '.join(near_names)}"
    return (
        f"there are {', '.join([*known[:MAX_NAMES], *(['…'] if len(known) > MAX_NAMES else [])]) or 'none'}"
    )
