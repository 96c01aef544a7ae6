"""Comparisons: what is different between the archives of two curations of one dataset."""

from __future__ import annotations

from pydantic import Field

from cocu.client.models.base import Answer


class ConceptChange(Answer):
    """A concept in two curations.

    first, second: archives that hold it. gained, lost: archives that hold it in the second, or the first,
    alone.
    """

    concept: str
    first: int
    second: int
    gained: int
    lost: int


class Comparison(Answer):
    """Two curations side by side, over the samples that both have archives of.

    rank_correlation: mean of Spearman's correlation of the ranks of shared concepts, over the samples with at
    least two of them; null where there is none. change: mean of the samples' changes, 0 for the same lists
    and 1 for lists with nothing in common. shared, gained, lost: concepts summed over archives. gained_most,
    lost_most: the concepts that the most archives gained or lost.
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


class SampleChange(Answer):
    """How the archive of one sample changed.

    change: 0 for the same list, 1 for lists with nothing in common; what changes near the top weighs more.
    rank_correlation: of the shared concepts, null where fewer than two are. gained and lost by rank.
    """

    key: str
    caption: str
    change: float
    rank_correlation: float | None
    shared: int
    gained: list[str]
    lost: list[str]
    image: str | None
    thumbnail: str | None
