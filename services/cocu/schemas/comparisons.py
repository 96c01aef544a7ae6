"""Comparisons: differences between the archives of two curations of one dataset."""

from __future__ import annotations

from pydantic import Field

from cocu.schemas.base import Link, ResponseModel


class ConceptChange(ResponseModel):
    """A concept in two curations.

    first, second: number of archives with it. gained, lost: number of archives with it only in the second,
    or only in the first.
    """

    concept: str
    first: int
    second: int
    gained: int
    lost: int


class Comparison(ResponseModel):
    """Two curations side by side, over the samples that have archives in both.

    rank_correlation: mean of Spearman's correlation of the ranks of shared concepts, over the samples with at
    least two of them; null if there are none. change: mean change of a sample, 0 for equal lists and 1 for
    lists with nothing in common. shared, gained, lost: concepts summed over archives. gained_most, lost_most:
    the concepts that most archives gained or lost.
    """

    first: str
    second: str
    samples: int
    samples_changed: int
    only_in_first: int
    only_in_second: int
    change: float
    rank_correlation: float | None
    shared: int
    gained: int
    lost: int
    gained_most: list[ConceptChange] = Field(default_factory=list)
    lost_most: list[ConceptChange] = Field(default_factory=list)


class SampleChange(ResponseModel):
    """How the archive of one sample changed.

    change: 0 for equal lists, 1 for lists with nothing in common; changes near the top weigh more.
    rank_correlation: of the shared concepts, null for fewer than two. gained, lost: in order of rank.
    """

    key: str
    caption: str
    change: float
    rank_correlation: float | None
    shared: int
    gained: list[str]
    lost: list[str]
    image: Link | None
    thumbnail: Link | None
