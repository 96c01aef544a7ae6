"""Concepts of a curation: how often captions and archives name them, and which concepts occur together."""

from __future__ import annotations

from typing import Literal

from cocu.schemas.archive_lists import Histogram
from cocu.schemas.base import Link, ResponseModel
from cocu.schemas.vocabularies import NearConcept

ConceptOrder = Literal["archives", "captions", "added", "concept"]
"""The count by which concepts are sorted, highest first; `concept` sorts by name."""


class ConceptFrequency(ResponseModel):
    """How often a concept occurs in captions (before) and in archives (after).

    added: number of archives with it whose image's own caption does not name it.
    """

    concept: str
    captions: int
    archives: int
    added: int


class CoOccurrence(ResponseModel):
    """A concept that shares archives with another.

    archives: number of archives with both. lift: this number divided by the one expected if both were
    independent.
    """

    concept: str
    archives: int
    lift: float


class ConceptSample(ResponseModel):
    """A sample whose archive contains a concept, with the concept's score."""

    key: str
    caption: str
    score: float
    added: bool
    image: Link | None
    thumbnail: Link | None


class ConceptDetail(ConceptFrequency):
    """A concept with the concepts that most often occur with it, and the samples with its best scores.

    forms: how captions may write it. captions_rank, archives_rank: its place among all concepts by that
    count, 1 for the most frequent; equal counts have the same place, and a count of 0 has none. histogram:
    its scores in the archives where it was added. similar: the nearest concepts of the vocabulary in the
    curation's encoder, with their frequencies; None while that is computed, and where this server lacks the
    encoder.
    """

    forms: list[str]
    captions_rank: int | None
    archives_rank: int | None
    histogram: Histogram
    similar: list[NearConcept] | None
    co_occurring: list[CoOccurrence]
    samples: list[ConceptSample]
