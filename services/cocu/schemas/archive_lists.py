"""Lists of archives as a grid shows them: cards, counts, and what stands before and after."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cocu.schemas.base import Link, ResponseModel, is_none
from cocu.schemas.labels import Verdict
from cocu.schemas.search import HitConcept

ArchiveOrder = Literal["sample", "-gain", "-best_added", "score", "-score"]
"""The order of a list of archives. `sample`: as the samples stand in the dataset. `-gain`: by the number of
concepts added, most first. `-best_added`: by the best score of these, best first, archives without any last.
`score`, `-score`: by the score of the first concept asked for, lowest or highest first. Ties are in the order
of samples."""

ArchiveView = Literal["full", "card"]
"""What a list of archives shows of each."""


class ScoredConcept(ResponseModel):
    """A concept of an archive, its score, and its verdict by the labels that were asked for."""

    concept: str
    score: float
    verdict: Verdict | None = Field(default=None, exclude_if=is_none)


class AskedConcept(HitConcept):
    """A concept that was asked for, as an archive has it; verdict: as of `ScoredConcept`."""

    verdict: Verdict | None = Field(default=None, exclude_if=is_none)


class ArchiveCard(ResponseModel):
    """What a grid shows of an archive.

    concepts: how many concepts it has. gain: how many of them its caption does not name. best_added: the best
    five of these. asked: those that the request asked for, in its order, each as this archive has it. missed:
    labels that the archive lacks, by the labels that were asked for; None where the image has none.
    """

    key: str
    caption: str
    image: Link | None
    thumbnail: Link | None
    concepts: int
    gain: int
    best_added: list[ScoredConcept]
    asked: list[AskedConcept]
    missed: list[str] | None = Field(default=None, exclude_if=is_none)


class Histogram(ResponseModel):
    """How many values are in each bin: bin i is from edges[i] up to but not including edges[i + 1].

    The last bin includes its upper edge. There is one edge more than there are bins; without any value
    there are none of both.
    """

    edges: list[float]
    counts: list[int]


class ConceptFacet(ResponseModel):
    """A concept, the number of selected archives with it, and in how many of them it was added."""

    concept: str
    archives: int
    added: int


class ArchiveFacets(ResponseModel):
    """Counts over the archives that filters select; all are exact.

    total: how many archives these are. concepts: those in most of them, ties by name. best_added: the best
    score of an added concept, of the archives that have one. gain: the number of concepts added. The edges of
    both are those of the whole curation, whatever the filters, so that histograms can be compared.
    """

    total: int
    concepts: list[ConceptFacet]
    best_added: Histogram
    gain: Histogram


class AdjacentArchives(ResponseModel):
    """The keys before and after an archive in a list, its position from 1, and the length of the list.

    position: None where the filters do not select the archive; previous and next are then those around the
    place where it would stand. None for these at an end, and where the order gives no place: by the score of
    a concept that the archive does not have.
    """

    previous: str | None
    next: str | None
    position: int | None
    total: int
