"""Concepts of a curation: how often captions and archives name them, and what they occur with."""

from __future__ import annotations

from typing import Literal

from cocu.client.models.base import Answer

ConceptOrder = Literal["archives", "captions", "added", "concept"]
"""By which figure concepts are listed, most first; `concept` is by name."""


class ConceptFrequency(Answer):
    """How often a concept occurs: before, in captions; after, in archives.

    added: archives that hold it though the image's own caption does not name it.
    """

    concept: str
    captions: int
    archives: int
    added: int


class CoOccurrence(Answer):
    """A concept that shares archives with another.

    archives: that hold both. lift: how many times more than if the two were independent.
    """

    concept: str
    archives: int
    lift: float


class ConceptSample(Answer):
    """A sample whose archive holds a concept, with its score there."""

    key: str
    caption: str
    score: float
    added: bool
    image: str | None
    thumbnail: str | None


class ConceptDetail(ConceptFrequency):
    """A concept with the concepts it occurs with most, and the samples where it scores best."""

    co_occurring: list[CoOccurrence]
    samples: list[ConceptSample]
