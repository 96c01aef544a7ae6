"""Keys of samples in paths, which may contain slashes, percent signs and every other character."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from cocu.errors import NotFoundError
from cocu.http.paths import decode_segment

MAX_KEY_LENGTH = 4096


def decode_key(key: Annotated[str, Path(description="Key of a sample, percent-encoded.")]) -> str:
    """Return the key in a path. Raises NotFoundError for a key that no sample can have."""
    decoded = decode_segment(key)
    if "\0" in decoded or len(decoded) > MAX_KEY_LENGTH:
        raise NotFoundError("no sample can have such a key: keys hold no NUL and at most 4,096 characters")
    return decoded


SampleKey = Annotated[str, Depends(decode_key)]


def _decode_concept(
    concept: Annotated[str, Path(description="A concept, by its name or another form; percent-encoded.")],
) -> str:
    return decode_segment(concept)


ConceptInPath = Annotated[str, Depends(_decode_concept)]
"""A concept in a path, decoded; it may be anything."""
