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
- "caption": any of those that the sample's own caption names, all alike: what a trainer has without curation,
  for comparison. An archive that was not made with its own caption has none.

`probabilities` gives the exact probabilities of these draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import OWN_CAPTION, Archives, Floats, Ids, Ints
from cocu.curation.lists import offsets_of, owners
from cocu.curation.randomness import Seeds, key_hashes, seeds_of, uniforms

__all__ = [
    "NO_CONCEPT",
    "SAMPLERS",
    "Sampler",
    "check_draw",
    "draw_concepts",
    "draw_entries",
    "named_by_caption",
]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

NO_CONCEPT = -1
"""Fills a draw where the archive has fewer concepts than asked for."""


class Sampler(Protocol):
    """A way to draw from B archives: int64 [B, K] entries of the flat arrays, NO_CONCEPT beyond an archive's
    end.

    named_C: whether the sample's own caption names the concept. uniforms_BU has 2 K random numbers for each
    archive.
    """

    def __call__(
        self,
        *,
        offsets_B1: Ids,
        scores_C: Floats,
        clusters_C: Ints,
        named_C: Flags,
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
    entries_BK = draw_entries(
        archives,
        key_hashes(keys),
        curation_hash=curation_hash,
        seed=seed,
        epoch=epoch,
        count=count,
        temperature=temperature,
        sampler=sampler,
        replacement=replacement,
    )
    # The sentinel is the entry that -1 reads.
    return np.append(archives.concepts_C, NO_CONCEPT)[entries_BK].astype(np.int32)


def draw_entries(
    archives: Archives,
    hashes_B: Seeds,
    *,
    curation_hash: str,
    seed: int,
    epoch: int,
    count: int,
    temperature: float = 1.0,
    sampler: str = "cluster",
    replacement: bool = False,
) -> Ids:
    """The same draw as places in the flat arrays of the archives, int64 [B, K], NO_CONCEPT likewise.

    hashes_B: of the samples' keys, by `key_hashes`.

    Raises:
        ValueError: hashes and archives differ in number, or a parameter is out of range.
    """
    if len(hashes_B) != len(archives.offsets_B1) - 1:
        raise ValueError(f"{len(hashes_B)} keys for {len(archives.offsets_B1) - 1} archives: give one each")
    check_draw(sampler=sampler, count=count, temperature=temperature)
    seeds_B = seeds_of(("concepts", curation_hash, seed, epoch), hashes_B)
    return SAMPLERS[sampler](
        offsets_B1=archives.offsets_B1,
        scores_C=archives.scores_C,
        clusters_C=archives.clusters_C,
        named_C=named_by_caption(archives.origin_offsets_C1, archives.origins_O),
        uniforms_BU=uniforms(seeds_B, 2 * count),
        count=count,
        temperature=temperature,
        replacement=replacement,
    )


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
    named_C: Flags,
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
    named_C: Flags,
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
    named_C: Flags,
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
        named_C=named_C,
        uniforms_BU=uniforms_BU,
        count=count,
        temperature=1.0,
        replacement=replacement,
    )


def draw_from_caption(
    *,
    offsets_B1: Ids,
    scores_C: Floats,
    clusters_C: Ints,
    named_C: Flags,
    uniforms_BU: Values,
    count: int,
    temperature: float,
    replacement: bool,
) -> Ids:
    """Any concepts that the caption names, all alike: the even draw from what is left of each archive."""
    named_I = np.flatnonzero(named_C)
    named_B = np.bincount(owners(offsets_B1)[named_I], minlength=len(offsets_B1) - 1)
    drawn_BK = draw_uniformly(
        offsets_B1=offsets_of(named_B),
        scores_C=scores_C[named_I],
        clusters_C=clusters_C[named_I],
        named_C=named_C[named_I],
        uniforms_BU=uniforms_BU,
        count=count,
        temperature=temperature,
        replacement=replacement,
    )
    # The sentinel is the entry that -1 reads.
    return np.append(named_I, NO_CONCEPT)[drawn_BK]


def named_by_caption(origin_offsets_C1: Ids, origins_O: Ints) -> Flags:
    """Whether a sample's own caption names each concept of its archive, bool [C], by its origins."""
    named_C = np.diff(origin_offsets_C1) > 0
    # The own caption comes before all neighbours.
    named_C[named_C] = origins_O[origin_offsets_C1[:-1][named_C]] == OWN_CAPTION
    return named_C


SAMPLERS: Mapping[str, Sampler] = {
    "cluster": draw_by_cluster,
    "topk": draw_top,
    "uniform": draw_uniformly,
    "caption": draw_from_caption,
}
"""The samplers by name."""


_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")

_LEAST_TOTAL = 1e-200
"""Less than this in all, and what is left to draw from has lost digits to underflow."""


@_compiled
def _draw_by_cluster(
    offsets_B1: Ids, scores_C: Values, clusters_C: Ints, uniforms_BU: Values, count: int, replacement: bool
) -> Ids:
    entries_BK = np.full((len(offsets_B1) - 1, count), -1, np.int64)
    # Room for the largest archive, used for one after the other.
    most = np.int64(clusters_C.max() + 1 if len(clusters_C) else 0)
    means_M, tops_M, cluster_weights_M = np.empty(most), np.empty(most), np.empty(most)
    left_M, closed_M, open_M = np.empty(most, np.int64), np.empty(most, np.bool_), np.empty(most)
    weights_A = np.empty((offsets_B1[1:] - offsets_B1[:-1]).max() if len(entries_BK) else 0)
    open_A = np.empty(len(weights_A))
    drawn_A, barred_A = np.empty(len(weights_A), np.bool_), np.empty(len(weights_A), np.bool_)
    for image in range(len(entries_BK)):
        start, end = offsets_B1[image], offsets_B1[image + 1]
        scores, clusters = scores_C[start:end], clusters_C[start:end]
        number = _summarise(scores, clusters, means_M, tops_M, left_M)
        if number < 2:
            for draw in range(min(count, end - start)):
                entries_BK[image, draw] = start + draw
            continue
        means, left, closed = means_M[:number], left_M[:number], closed_M[:number]
        weights, drawn, barred = (
            weights_A[: end - start],
            drawn_A[: end - start],
            barred_A[: end - start],
        )
        _weigh(scores, clusters, means, tops_M, weights, cluster_weights_M)
        closed[:] = False
        drawn[:] = False
        for draw in range(count if replacement else min(count, end - start)):
            if closed.all():
                for cluster in range(number):
                    closed[cluster] = left[cluster] == 0
            cluster = _pick(cluster_weights_M, means, closed, open_M, uniforms_BU[image, 2 * draw])
            for entry in range(end - start):
                barred[entry] = drawn[entry] | (clusters[entry] != cluster)
            entry = _pick(weights, scores, barred, open_A, uniforms_BU[image, 2 * draw + 1])
            entries_BK[image, draw] = start + entry
            if not replacement:
                drawn[entry] = True
                left[cluster] -= 1
                closed[cluster] = True
    return entries_BK


@_compiled
def _summarise(scores_A: Values, clusters_A: Ints, means_M: Values, tops_M: Values, sizes_M: Ids) -> int:
    """The mean and the highest score and the size of each cluster; their number, 0 where there are none."""
    number = 0
    for entry in range(len(scores_A)):
        cluster = clusters_A[entry]
        while number <= cluster:
            means_M[number], tops_M[number], sizes_M[number] = 0.0, -np.inf, 0
            number += 1
        if cluster >= 0:
            means_M[cluster] += scores_A[entry]
            tops_M[cluster] = max(tops_M[cluster], scores_A[entry])
            sizes_M[cluster] += 1
    for cluster in range(number):
        means_M[cluster] /= sizes_M[cluster]
    return number


@_compiled
def _weigh(
    scores_A: Values,
    clusters_A: Ints,
    means_M: Values,
    tops_M: Values,
    weights_A: Values,
    cluster_weights_M: Values,
) -> None:
    """The numerators of both softmaxes; subtracting the largest exponent keeps them finite."""
    for entry in range(len(scores_A)):
        weights_A[entry] = np.exp(scores_A[entry] - tops_M[clusters_A[entry]])
    largest = means_M.max()
    for cluster in range(len(means_M)):
        cluster_weights_M[cluster] = np.exp(means_M[cluster] - largest)


@_compiled
def _pick(
    weights_M: Values, exponents_M: Values, barred_M: NDArray[np.bool_], open_M: Values, uniform: float
) -> int:
    """The entry drawn by the softmax over those not barred, at the quantile `uniform`; open_M is room."""
    total = _open_weights(weights_M, barred_M, open_M)
    if total < _LEAST_TOTAL:
        total = _open_weights(_weights_of_the_rest(exponents_M, barred_M), barred_M, open_M)
    target = uniform * total
    for entry in range(len(barred_M)):
        target -= open_M[entry]
        if target < 0.0:
            return entry
    # Rounding may leave a little: it belongs to the last.
    for entry in range(len(barred_M) - 1, 0, -1):
        if not barred_M[entry]:
            return entry
    return 0


@_compiled
def _open_weights(weights_M: Values, barred_M: NDArray[np.bool_], open_M: Values) -> float:
    """The weights with those barred at 0, and their sum. Without branches, which no processor could guess."""
    total = 0.0
    for entry in range(len(barred_M)):
        open_M[entry] = 0.0 if barred_M[entry] else weights_M[entry]
        total += open_M[entry]
    return total


@_compiled
def _weights_of_the_rest(exponents_M: Values, barred_M: NDArray[np.bool_]) -> Values:
    """The weights anew, once those barred were all there was."""
    largest = -np.inf
    for entry in range(len(barred_M)):
        if not barred_M[entry]:
            largest = max(largest, exponents_M[entry])
    return np.exp(exponents_M - largest)
