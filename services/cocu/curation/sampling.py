"""The concepts that a trainer gets for a sample in an epoch: a pure function of (curation hash, seed, epoch,
key).

The samplers (table SAMPLERS):

- "cluster": cluster-guided (section 7 of the reference). A cluster is drawn by the softmax over clusters of
the mean
  score of their concepts, then a concept by the softmax of score within it; both at a temperature. Without
  replacement (the default) each cluster is used once while unused ones remain, then all that have concepts
  left are open again, and no concept is drawn twice. With replacement all draws are independent, as in the
  reference. An archive without clusters, or with one, gives its top concepts, as in the reference.
- "topk": the best concepts by score, the same in every epoch.
- "uniform": any concepts of the archive, all alike.

`probabilities` gives the exact probabilities of these draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Archives, Floats, Ids, Ints
from cocu.curation.randomness import seeds_of, uniforms

__all__ = ["NO_CONCEPT", "SAMPLERS", "Sampler", "check_draw", "draw_concepts"]

Values = NDArray[np.float64]

NO_CONCEPT = -1
"""Fills a draw where the archive has fewer concepts than asked for."""


class Sampler(Protocol):
    """A way to draw from B archives: int64 [B, K] entries of the flat arrays, NO_CONCEPT beyond an archive's
    end.

    uniforms_BU has 2 K random numbers for each archive.
    """

    def __call__(
        self,
        *,
        offsets_B1: Ids,
        scores_C: Floats,
        clusters_C: Ints,
        uniforms_BU: Values,
        count: int,
        temperature: float,
        replacement: bool,
    ) -> Ids:
        """Draw K concepts for every archive."""


def draw_concepts(
    archives: Archives,
    keys: Sequence[str],
    *,
    curation_hash: str,
    seed: int,
    epoch: int,
    count: int = 3,
    temperature: float = 1.0,
    sampler: str = "cluster",
    replacement: bool = False,
) -> Ints:
    """The concepts of B samples in one epoch, int32 [B, K], NO_CONCEPT where an archive has too few.

    keys are the samples' keys; a row depends on nothing of the other samples. A low temperature draws the
    best, a high one draws evenly.

    Raises:
        ValueError: keys and archives differ in number, or a parameter is out of range.
    """
    if len(keys) != len(archives.offsets_B1) - 1:
        raise ValueError(f"{len(keys)} keys for {len(archives.offsets_B1) - 1} archives: give one each")
    check_draw(sampler=sampler, count=count, temperature=temperature)
    seeds_B = seeds_of(("concepts", curation_hash, seed, epoch), keys)
    entries_BK = SAMPLERS[sampler](
        offsets_B1=archives.offsets_B1,
        scores_C=archives.scores_C,
        clusters_C=archives.clusters_C,
        uniforms_BU=uniforms(seeds_B, 2 * count),
        count=count,
        temperature=temperature,
        replacement=replacement,
    )
    # The sentinel is the entry that -1 reads.
    return np.append(archives.concepts_C, NO_CONCEPT)[entries_BK].astype(np.int32)


def check_draw(*, sampler: str, count: int, temperature: float) -> None:
    """Raise ValueError, naming the parameter, when a draw is asked for that there is not."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")


def draw_by_cluster(
    *,
    offsets_B1: Ids,
    scores_C: Floats,
    clusters_C: Ints,
    uniforms_BU: Values,
    count: int,
    temperature: float,
    replacement: bool,
) -> Ids:
    """The cluster-guided draw."""
    return np.asarray(
        _draw_by_cluster(
            offsets_B1,
            np.asarray(scores_C, dtype=np.float64) / temperature,
            clusters_C,
            uniforms_BU,
            count,
            replacement,
        )
    )


def draw_top(
    *,
    offsets_B1: Ids,
    scores_C: Floats,
    clusters_C: Ints,
    uniforms_BU: Values,
    count: int,
    temperature: float,
    replacement: bool,
) -> Ids:
    """The best `count` concepts: archives come ordered by score."""
    entries_BK = offsets_B1[:-1, None] + np.arange(count)
    return np.where(entries_BK < offsets_B1[1:, None], entries_BK, NO_CONCEPT)


def draw_uniformly(
    *,
    offsets_B1: Ids,
    scores_C: Floats,
    clusters_C: Ints,
    uniforms_BU: Values,
    count: int,
    temperature: float,
    replacement: bool,
) -> Ids:
    """Any concepts, all alike: one cluster-guided draw's worth of equal scores."""
    # Every concept a cluster of its own with the same score: drawing clusters evenly draws concepts evenly.
    alone_C = np.arange(len(scores_C), dtype=np.int32) - np.repeat(offsets_B1[:-1], np.diff(offsets_B1))
    return draw_by_cluster(
        offsets_B1=offsets_B1,
        scores_C=np.zeros(len(scores_C)),
        clusters_C=alone_C.astype(np.int32),
        uniforms_BU=uniforms_BU,
        count=count,
        temperature=1.0,
        replacement=replacement,
    )


SAMPLERS: Mapping[str, Sampler] = {"cluster": draw_by_cluster, "topk": draw_top, "uniform": draw_uniformly}
"""The samplers by name."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _draw_by_cluster(
    offsets_B1: Ids, scores_C: Values, clusters_C: Ints, uniforms_BU: Values, count: int, replacement: bool
) -> Ids:
    entries_BK = np.full((len(offsets_B1) - 1, count), -1, np.int64)
    for image in range(len(offsets_B1) - 1):
        start, end = offsets_B1[image], offsets_B1[image + 1]
        means, left = _clusters(scores_C[start:end], clusters_C[start:end])
        if len(means) < 2:
            for draw in range(min(count, end - start)):
                entries_BK[image, draw] = start + draw
            continue
        closed = np.zeros(len(means), np.bool_)
        drawn = np.zeros(end - start, np.bool_)
        for draw in range(count if replacement else min(count, end - start)):
            if closed.all():
                closed[:] = left == 0
            cluster = _softmax_pick(means, closed, uniforms_BU[image, 2 * draw])
            barred = drawn | (clusters_C[start:end] != cluster)
            entry = _softmax_pick(scores_C[start:end], barred, uniforms_BU[image, 2 * draw + 1])
            entries_BK[image, draw] = start + entry
            if not replacement:
                drawn[entry] = True
                left[cluster] -= 1
                closed[cluster] = True
    return entries_BK


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _clusters(scores_A: Values, clusters_A: Ints) -> tuple[Values, Ids]:
    """The mean score and the size of each cluster; none where the archive is not clustered."""
    count = 0
    for cluster in clusters_A:
        count = max(count, cluster + 1)
    means = np.zeros(count, np.float64)
    sizes = np.zeros(count, np.int64)
    for entry in range(len(scores_A) if count else 0):
        means[clusters_A[entry]] += scores_A[entry]
        sizes[clusters_A[entry]] += 1
    return means / sizes, sizes


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _softmax_pick(exponents_M: Values, barred_M: NDArray[np.bool_], uniform: float) -> int:
    """The entry drawn by the softmax over those not barred, at the quantile `uniform`."""
    # Subtracting the largest exponent keeps the softmax finite at any temperature.
    largest = -np.inf
    for entry in range(len(exponents_M)):
        if not barred_M[entry]:
            largest = max(largest, exponents_M[entry])
    total = 0.0
    for entry in range(len(exponents_M)):
        if not barred_M[entry]:
            total += np.exp(exponents_M[entry] - largest)
    target = uniform * total
    last = 0
    for entry in range(len(exponents_M)):
        if not barred_M[entry]:
            target -= np.exp(exponents_M[entry] - largest)
            last = entry
            if target < 0.0:
                break
    return last
