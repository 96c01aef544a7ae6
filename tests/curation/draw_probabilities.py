"""The exact probabilities of the draws that `cocu.curation.sampling` makes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Archives, Floats, Ints
from cocu.curation.sampling import check_draw, named_by_caption

__all__ = ["draw_probabilities", "sequence_probabilities"]

Values = NDArray[np.float64]


def draw_probabilities(archives: Archives, *, temperature: float = 1.0, sampler: str = "cluster") -> Values:
    """Return the probability that each concept is the first one drawn, float64 [C].

    The probabilities of a non-empty archive add up to 1. With replacement they hold for every draw.

    Raises:
        ValueError: the temperature or the sampler is invalid.
    """
    probabilities_C = np.zeros(len(archives.concepts_C))
    named_C = named_by_caption(archives.origin_offsets_C1, archives.origins_O)
    for start, end in zip(archives.offsets_B1[:-1], archives.offsets_B1[1:], strict=True):
        for (first,), probability in sequence_probabilities(
            archives.scores_C[start:end],
            archives.clusters_C[start:end],
            named_C[start:end],
            count=1,
            temperature=temperature,
            sampler=sampler,
        ).items():
            probabilities_C[start + first] = probability
    return probabilities_C


def sequence_probabilities(
    scores_C: Floats,
    clusters_C: Ints,
    named_C: NDArray[np.bool_] | None = None,
    *,
    count: int,
    temperature: float = 1.0,
    sampler: str = "cluster",
    replacement: bool = False,
) -> dict[tuple[int, ...], float]:
    """Return the probability of every sequence of `count` draws from one archive, as positions in it.

    The number of sequences is the archive's length to the power of `count`, so archives must be small.
    Sequences end where the archive has no more concepts; an empty archive has no sequence. named_C: whether
    the own caption names each concept, for the sampler "caption".

    Raises:
        ValueError: the temperature, the count or the sampler is invalid, or named_C is missing.
    """
    check_draw(sampler=sampler, count=count, temperature=temperature)
    scores_C = np.asarray(scores_C, dtype=np.float64) / temperature
    clusters_C = np.asarray(clusters_C)
    if sampler == "caption":
        if named_C is None:
            raise ValueError("the sampler 'caption' draws what the caption names: give named_C")
        entries_I = np.flatnonzero(named_C)
        among_named = sequence_probabilities(
            scores_C[entries_I],
            clusters_C[entries_I],
            count=count,
            sampler="uniform",
            replacement=replacement,
        )
        return {tuple(entries_I[list(draws)].tolist()): chance for draws, chance in among_named.items()}
    if sampler == "uniform":
        scores_C, clusters_C = np.zeros(len(scores_C)), np.arange(len(scores_C), dtype=np.int32)
    if sampler == "topk" or clusters_C.max(initial=-1) < 1:
        top = tuple(range(min(count, len(scores_C))))
        return {top: 1.0} if top else {}
    probabilities: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(count):
        longer: dict[tuple[int, ...], float] = defaultdict(float)
        for sequence, probability in probabilities.items():
            for position, chance in _next_draw(scores_C, clusters_C, sequence, replacement).items():
                longer[(*sequence, position)] += probability * chance
        if not longer:
            break
        probabilities = dict(longer)
    return probabilities


def _next_draw(
    scores_C: Values, clusters_C: Ints, drawn: tuple[int, ...], replacement: bool
) -> dict[int, float]:
    open_clusters = _open_clusters(clusters_C, () if replacement else drawn)
    if not open_clusters:
        return {}
    cluster_chances = _softmax(
        np.array([scores_C[clusters_C == cluster].mean() for cluster in open_clusters])
    )
    chances: dict[int, float] = {}
    for cluster, cluster_chance in zip(open_clusters, cluster_chances, strict=True):
        inside = [p for p in np.flatnonzero(clusters_C == cluster) if replacement or p not in drawn]
        for position, chance in zip(inside, _softmax(scores_C[inside]), strict=True):
            chances[int(position)] = float(cluster_chance * chance)
    return chances


def _open_clusters(clusters_C: Ints, drawn: tuple[int, ...]) -> list[int]:
    """The clusters that the next draw may use: not yet used in this round, and with concepts left."""
    left = {int(cluster): int((clusters_C == cluster).sum()) for cluster in np.unique(clusters_C)}
    used: set[int] = set()
    for position in drawn:
        cluster = int(clusters_C[position])
        left[cluster] -= 1
        used.add(cluster)
        if used >= {other for other, remaining in left.items() if remaining}:
            used = set()
    return [cluster for cluster, remaining in left.items() if remaining and cluster not in used]


def _softmax(exponents: Values) -> Values:
    weights = np.exp(exponents - exponents.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
