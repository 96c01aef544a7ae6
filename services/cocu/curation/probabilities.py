"""The exact probabilities of draws: how likely `sampling` draws each concept of an archive in an epoch.

First draw: the softmax over clusters times the softmax within the cluster.

Inclusion, the probability that a concept is among K draws without replacement: clusters come round before any
is used again, so r whole rounds take min(r, size) concepts of every cluster for sure, and the last round
takes one more of those clusters that it reaches. Which clusters a part of a round reaches, and which concepts
j draws within a cluster take, are successive draws in proportion to weights. These equal an order of
arrivals: entry i arrives after an exponential time of rate w_i, and the first j to arrive are drawn. So

    P(i among the first j) = integral over t of  w_i exp(-w_i t) * P(fewer than j others arrive before t)

which is a sum over few nodes: over log t the integrand is analytic, and the trapezoidal rule is exact to
about 1e-12 where its step is well below the width of the integrand, which shrinks with the root of the
entries (see `_step`). That takes time in proportion to the entries to the power 1.5 times j, and not the
j-th power of entries as a sum over sequences of draws does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Archives
from cocu.curation.numba_cache import compiled
from cocu.curation.sampling import check_draw, named_by_caption

__all__ = ["DrawProbabilities", "draw_probabilities", "inclusion"]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


class DrawProbabilities(NamedTuple):
    """Of C concepts, float64: to be drawn first (first_C), and to be among the draws (inclusion_C)."""

    first_C: Values
    inclusion_C: Values


def draw_probabilities(
    archives: Archives, *, count: int, temperature: float = 1.0, sampler: str = "cluster"
) -> DrawProbabilities:
    """Return the probabilities of the concepts of B archives when `count` are drawn without replacement.

    first_C adds up to 1 in an archive with anything to draw, inclusion_C to the number of draws: `count`, or
    fewer where the archive has fewer. They are exact to about 1e-12. The time grows in proportion to concepts
    times `count`.

    Raises:
        ValueError: a parameter is out of range.
    """
    check_draw(sampler=sampler, count=count, temperature=temperature)
    named_C = named_by_caption(archives.origin_offsets_C1, archives.origins_O)
    first_C = np.zeros(len(archives.concepts_C))
    inclusion_C = np.zeros(len(archives.concepts_C))
    for start, end in zip(archives.offsets_B1[:-1], archives.offsets_B1[1:], strict=True):
        entries = slice(start, end)
        if start < end:
            first_C[entries], inclusion_C[entries] = _PROBABILITIES[sampler](
                np.asarray(archives.scores_C[entries], np.float64) / temperature,
                archives.clusters_C[entries],
                named_C[entries],
                count,
            )
    return DrawProbabilities(first_C, inclusion_C)


def _of_clusters(
    scores_A: Values, clusters_A: NDArray[np.int32], named_A: Flags, count: int
) -> tuple[Values, Values]:
    clusters_M, of_A, sizes_M = np.unique(clusters_A, return_inverse=True, return_counts=True)
    if (clusters_M >= 0).sum() < 2:
        return _of_the_best(scores_A, clusters_A, named_A, count)
    means_M = np.bincount(of_A, scores_A) / sizes_M
    chance_M = _softmax(means_M)
    rounds, rest = _rounds(sizes_M, count)
    reached_M = np.zeros(len(sizes_M))
    open_M = sizes_M > rounds
    reached_M[open_M] = inclusion(means_M[open_M], rest)
    first_A, inclusion_A = np.empty(len(scores_A)), np.empty(len(scores_A))
    for cluster, size in enumerate(sizes_M.tolist()):
        inside_A = of_A == cluster
        scores = scores_A[inside_A]
        first_A[inside_A] = chance_M[cluster] * _softmax(scores)
        reached = reached_M[cluster]
        inclusion_A[inside_A] = (1.0 - reached) * inclusion(scores, min(rounds, size))
        if reached > 0.0:
            inclusion_A[inside_A] += reached * inclusion(scores, rounds + 1)
    return first_A, inclusion_A


def _rounds(sizes_M: NDArray[np.int64], count: int) -> tuple[int, int]:
    """Return the whole rounds through the clusters that `count` draws make, and the draws of the last one."""
    rounds, rest = 0, min(count, int(sizes_M.sum()))
    while rest and rest >= (is_open := int((sizes_M > rounds).sum())):
        rest -= is_open
        rounds += 1
    return rounds, rest


def _of_the_best(
    scores_A: Values, clusters_A: NDArray[np.int32], named_A: Flags, count: int
) -> tuple[Values, Values]:
    ranks_A = np.arange(len(scores_A))
    return (ranks_A == 0).astype(np.float64), (ranks_A < count).astype(np.float64)


def _of_all(
    scores_A: Values, clusters_A: NDArray[np.int32], named_A: Flags, count: int
) -> tuple[Values, Values]:
    return _evenly(np.ones(len(scores_A), np.bool_), count)


def _of_named(
    scores_A: Values, clusters_A: NDArray[np.int32], named_A: Flags, count: int
) -> tuple[Values, Values]:
    return _evenly(named_A, count)


def _evenly(among_A: Flags, count: int) -> tuple[Values, Values]:
    number = max(int(among_A.sum()), 1)
    even_A = among_A.astype(np.float64) / number
    return even_A, even_A * min(count, number)


_PROBABILITIES: Mapping[str, Callable[[Values, NDArray[np.int32], Flags, int], tuple[Values, Values]]] = {
    "cluster": _of_clusters,
    "topk": _of_the_best,
    "uniform": _of_all,
    "caption": _of_named,
}
"""By sampler: probabilities of first draws and of inclusion, from an archive's scores over temperature, its
clusters, whether the caption names each concept, and the number of draws."""


def _softmax(exponents: Values) -> Values:
    weights = np.exp(exponents - exponents.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def inclusion(exponents_N: Values, count: int) -> Values:
    """Return the probability that each of N entries is among `count` draws without replacement, float64 [N].

    Each draw takes one of the entries left, in proportion to exp(exponents_N). The probabilities add up to
    min(count, N), and are exact to about 1e-12 whatever the exponents.
    """
    if count >= len(exponents_N):
        return np.ones(len(exponents_N))
    if count <= 0:
        return np.zeros(len(exponents_N))
    order_N = np.argsort(-exponents_N, kind="stable")
    probability_N = np.empty(len(exponents_N))
    probability_N[order_N] = _inclusion(exponents_N[order_N], count, _step(len(exponents_N)))
    return np.clip(probability_N, 0.0, 1.0)


def _step(entries: int) -> float:
    """Return the distance between two nodes of log t, for an error of the rule below 1e-13.

    For one entry the error is exp(-pi ** 2 / step). For many it is exp(-2 (pi s / step) ** 2), where s is the
    standard deviation of the log of the time at which the count-th of them arrives. Of N equal entries that
    is least, 1.24 / sqrt(N), when four in five are drawn. A power of two: nodes far from zero are exact then.
    """
    return min(0.25, 2.0 ** math.floor(math.log2(0.9 / math.sqrt(entries))))


_NOT_YET, _SURELY = -40.0, 4.0
"""Below the first log(w t) an entry has arrived with probability 4e-18, above the second with 1 - 2e-24."""


@compiled(nogil=True, error_model="numpy")
def _inclusion(exponents_N: Values, count: int, step: float) -> Values:
    """The integral of the module's docstring for entries by descending exponent, 0 < count < N."""
    number = len(exponents_N)
    probability_N = np.zeros(number)
    before = np.zeros((number + 1, count))
    after = np.zeros((number + 1, count))
    arrived = np.empty(number)
    first = 0
    last = 0
    node = -np.inf
    # Entries first..last-1 may arrive about now, those before have arrived, those behind have not.
    while first < count:
        if first == last:
            node = max(node, np.ceil((_NOT_YET - exponents_N[last]) / step))
        log_time = node * step
        node += 1.0
        while last < number and log_time + exponents_N[last] >= _NOT_YET:
            last += 1
        while first < last and log_time + exponents_N[first] > _SURELY:
            first += 1
        room = count - first
        active = last - first
        if room <= 0 or active == 0:
            continue
        for entry in range(active):
            arrived[entry] = -np.expm1(-np.exp(log_time + exponents_N[first + entry]))
        # Row e: the probabilities that 0, 1, … of the entries before e (from e on) have arrived.
        before[0, :room] = 0.0
        before[0, 0] = 1.0
        after[active, :room] = 0.0
        after[active, 0] = 1.0
        for entry in range(active):
            _add(before[entry], arrived[entry], before[entry + 1], room)
            back = active - 1 - entry
            _add(after[back + 1], arrived[back], after[back], room)
        for entry in range(active):
            fewer = 0.0
            at_most = 0.0
            for others in range(room):
                # Pairs (before, after) with a sum below `room`: after's distribution function, from its end.
                at_most += after[entry + 1, others]
                fewer += before[entry, room - 1 - others] * at_most
            rate = np.exp(log_time + exponents_N[first + entry])
            probability_N[first + entry] += step * rate * np.exp(-rate) * fewer
    return probability_N


@compiled(nogil=True, error_model="numpy")
def _add(counts: Values, arrived: float, more: Values, room: int) -> None:
    """Set `more` to the distribution of counts with one entry more, up to room - 1."""
    more[0] = counts[0] * (1.0 - arrived)
    for others in range(1, room):
        more[others] = counts[others] * (1.0 - arrived) + counts[others - 1] * arrived
