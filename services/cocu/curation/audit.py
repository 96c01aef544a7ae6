"""The audit: which added concepts people judge, and what their judgements say of all of them.

Added concepts fall into bins of their scores, of about equal size. In every bin some are chosen at random and
dealt in a fixed order, round after round one of each bin. So the judged ones of a bin are a simple random
sample of it, and precision is estimated as in stratified sampling (Cochran, Sampling Techniques, 3rd ed.,
section 5): the precision of each bin, weighted by the number of its concepts.

Intervals have 95 % confidence and are Wilson's (1927, JASA 22:209–212); of several bins together at the
effective number of judgements, 1 / Σ (weight² / judged) (Kish 1965, Survey Sampling, section 11.7), which is
the number itself where every bin has its share. That bins differ would make the interval narrower still; with
five judgements in each, that cannot be relied on. What is judged of a bin already makes it narrower: where
everything is judged, nothing is left to chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ids, Ints
from cocu.curation.randomness import numbers, permutation, seed_of

BINS: Final = 10
DEALT_PER_BIN: Final = 200
"""The most concepts that are dealt of a bin: intervals of about ± 2 % of all."""
NORMAL_95: Final = 1.959963984540054
"""The quantile of the normal distribution for 95 %."""


@dataclass(frozen=True)
class Stratum:
    """A bin of added concepts: how many there are, how many were judged right or wrong, how many right."""

    size: int
    judged: int
    right: int

    @property
    def precision(self) -> float | None:
        """The share of the judged ones that is right; None where none is judged."""
        return self.right / self.judged if self.judged else None


@dataclass(frozen=True)
class Estimate:
    """A precision with its 95 % interval."""

    precision: float
    low: float
    high: float


@dataclass(frozen=True)
class Deck:
    """What an audit deals of a curation: D pairs of an image and a concept added to it, in order.

    edges_K1: of the bins, ascending; a bin holds scores from its edge up to but not including the next, the
    last one also its upper edge. sizes_K: the added concepts of each bin. bins_D, rows_D (of the sample in
    the snapshot), concepts_D and scores_D: of each pair. Without added concepts all are empty.
    """

    edges_K1: NDArray[np.float64]
    sizes_K: Ids
    bins_D: Ints
    rows_D: Ids
    concepts_D: Ints
    scores_D: Floats

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def wilson_interval(share: float, judged: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `judged` observations; (0, 1) without any.

    >>> [round(bound, 4) for bound in wilson_interval(0.8, 10)]
    [0.4902, 0.9433]
    """
    if not judged:
        return 0.0, 1.0
    squared = NORMAL_95**2 / judged
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def estimate_precision(strata: Iterable[Stratum]) -> Estimate | None:
    """Estimate the precision of all concepts of some bins together.

    None without concepts, and where nothing of a bin is judged. Where all are judged, it is exact.
    """
    strata = [stratum for stratum in strata if stratum.size]
    total = sum(stratum.size for stratum in strata)
    if not total:
        return None
    right = uncertain = 0.0
    for stratum in strata:
        share = stratum.precision
        if share is None:
            return None
        right += stratum.size * share
        uncertain += (stratum.size / total) ** 2 / stratum.judged * (1 - stratum.judged / stratum.size)
    precision = right / total
    low, high = wilson_interval(precision, 1 / uncertain) if uncertain else (precision, precision)
    return Estimate(precision, low, high)


def find_bins(scores_R: Floats, *, lowest: float, highest: float) -> NDArray[np.float64]:
    """Return the edges of bins [K + 1] with about equally many scores, of few digits for people to name them.

    scores_R: a sample of the scores, not empty. lowest, highest: of all. Equal scores are never in two bins,
    so there may be fewer than BINS.
    """
    span = highest - lowest
    digits = 6 if span <= 0 else min(6, -math.floor(math.log10(span / 50)))
    step = 10.0**-digits
    shares = np.arange(1, BINS) / BINS
    inner_K = np.quantile(scores_R.astype(np.float64), shares, method="lower").tolist()
    first, last = (
        round(math.floor(lowest / step) * step, digits),
        round((math.floor(highest / step) + 1) * step, digits),
    )
    rounded = {round(math.floor(edge / step) * step, digits) for edge in inner_K}
    return np.array(sorted({first, last} | {edge for edge in rounded if first < edge < last}))


def bins_of(scores_R: Floats, edges_K1: NDArray[np.float64]) -> Ids:
    """Return the bin of each score.

    Scores are compared as filters by a least score compare them, as 32-bit floats.
    """
    return np.searchsorted(edges_K1[1:-1].astype(np.float32), scores_R, side="right").astype(np.int64)


def choose(seed: str, bin_: int, size: int) -> Ids:
    """Return which of the `size` concepts of a bin are dealt, and in which order: DEALT_PER_BIN of them at
    most, int64. The same for the same seed, always.
    """
    stream = seed_of("audit", seed, bin_)
    if size <= 8 * DEALT_PER_BIN:
        return permutation(stream, size)[:DEALT_PER_BIN]
    chosen: dict[int, None] = {}
    start = 0
    while len(chosen) < DEALT_PER_BIN:
        for number in numbers(stream, DEALT_PER_BIN, start=start).tolist():
            if len(chosen) < DEALT_PER_BIN:
                chosen.setdefault(number * size >> 64)
        start += DEALT_PER_BIN
    return np.array(list(chosen), np.int64)


def dealing_order(seed: str, dealt_K: Sequence[int]) -> list[tuple[int, int]]:
    """Return in which order concepts are dealt, as (bin, index in the bin).

    Every round takes one concept of each bin that has one left. The order within a round is random, so that
    the position says nothing about the score.

    dealt_K: how many of each bin are dealt.
    """
    order: list[tuple[int, int]] = []
    for index in range(max(dealt_K, default=0)):
        bins = [bin_ for bin_, count in enumerate(dealt_K) if count > index]
        turns = permutation(seed_of("round", seed, index), len(bins))
        order += [(bins[turn], index) for turn in turns.tolist()]
    return order
