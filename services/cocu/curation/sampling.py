"""Sampling: the concepts of a sample in an epoch, a pure function of (curation hash, seed, epoch, key).

The samplers (table SAMPLERS):

- "cluster": cluster-guided sampling (section 7 of the reference). It draws a cluster by the softmax of the
  mean scores of the clusters, then a concept by the softmax of the scores within that cluster; both softmaxes
  use the temperature. Without replacement (the default) each cluster is drawn once while undrawn clusters
  remain; then all clusters with concepts left are open again, and no concept is drawn twice. With replacement
  all draws are independent, as in the reference. An archive with fewer than two clusters gives its top
  concepts, as in the reference.
- "topk": the concepts with the highest scores, the same in every epoch.
- "uniform": any concepts of the archive, with equal probability.
- "caption": any concepts that the sample's own caption names, with equal probability. It is the baseline: a
  trainer without curation has these. An archive made with own_caption=False has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import OWN_CAPTION, Archives, Floats, Ids, Ints
from cocu.curation.numba_cache import compiled
from cocu.curation.ragged import offsets_of, owners
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
"""Pads a draw where the archive has fewer concepts than requested."""


class Sampler(Protocol):
    """A way to draw from B archives. It returns positions in the flat arrays, int64 [B, K], padded with
    NO_CONCEPT.

    named_C: whether the sample's own caption names the concept. uniforms_BU: 2 K random numbers in [0, 1) for
    each archive.
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
    """Draw the concepts of B samples for one epoch: int32 [B, K], NO_CONCEPT where an archive has too few.

    keys: the samples' keys. A row does not depend on the other samples. A low temperature prefers high
    scores, a high temperature draws nearly uniformly.

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
    """Draw as `draw_concepts` does, but return positions in the flat arrays: int64 [B, K], padded likewise.

    hashes_B: the hashes of the samples' keys (`key_hashes`).

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
    """Raise ValueError, naming the parameter, when a parameter of a draw is invalid."""
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
    """Draw by cluster, then by concept within the cluster."""
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
    """Return the first `count` concepts of each archive: archives are sorted by score."""
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
    """Draw concepts with equal probability."""
    # Each concept is a cluster of its own, all with one score: uniform clusters mean uniform concepts.
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
    """Draw, with equal probability, among the concepts of each archive that the caption names."""
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
    """Return whether a sample's own caption names each concept of its archive, bool [C], by its origins."""
    named_C = np.diff(origin_offsets_C1) > 0
    # Origins are sorted: the own caption comes before all neighbours.
    named_C[named_C] = origins_O[origin_offsets_C1[:-1][named_C]] == OWN_CAPTION
    return named_C


SAMPLERS: Mapping[str, Sampler] = {
    "cluster": draw_by_cluster,
    "topk": draw_top,
    "uniform": draw_uniformly,
    "caption": draw_from_caption,
}
"""The samplers by name."""


_compiled = compiled(nogil=True, error_model="numpy")

_LEAST_TOTAL = 1e-200
"""If the weights left add up to less than this, they lost digits to underflow and are computed again."""


@_compiled
def _draw_by_cluster(
    offsets_B1: Ids, scores_C: Values, clusters_C: Ints, uniforms_BU: Values, count: int, replacement: bool
) -> Ids:
    entries_BK = np.full((len(offsets_B1) - 1, count), -1, np.int64)
    # Buffers for the largest archive, reused for every archive.
    max_clusters = np.int64(clusters_C.max() + 1 if len(clusters_C) else 0)
    means_M, tops_M, cluster_weights_M = (
        np.empty(max_clusters),
        np.empty(max_clusters),
        np.empty(max_clusters),
    )
    left_M, closed_M, open_M = (
        np.empty(max_clusters, np.int64),
        np.empty(max_clusters, np.bool_),
        np.empty(max_clusters),
    )
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
    """Compute mean score, highest score and size of each cluster; return the number of clusters."""
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
    """Compute the numerators of both softmaxes; subtracting the largest exponent keeps them finite."""
    for entry in range(len(scores_A)):
        weights_A[entry] = np.exp(scores_A[entry] - tops_M[clusters_A[entry]])
    largest = means_M.max()
    for cluster in range(len(means_M)):
        cluster_weights_M[cluster] = np.exp(means_M[cluster] - largest)


@_compiled
def _pick(
    weights_M: Values, exponents_M: Values, barred_M: NDArray[np.bool_], open_M: Values, uniform: float
) -> int:
    """Draw an entry by the softmax over those not barred, at the quantile `uniform`; open_M is a buffer."""
    total = _open_weights(weights_M, barred_M, open_M)
    if total < _LEAST_TOTAL:
        total = _open_weights(_weights_of_the_rest(exponents_M, barred_M), barred_M, open_M)
    target = uniform * total
    for entry in range(len(barred_M)):
        target -= open_M[entry]
        if target < 0.0:
            return entry
    # Rounding may leave a small rest: it belongs to the last open entry.
    for entry in range(len(barred_M) - 1, 0, -1):
        if not barred_M[entry]:
            return entry
    return 0


@_compiled
def _open_weights(weights_M: Values, barred_M: NDArray[np.bool_], open_M: Values) -> float:
    """Set the weights of barred entries to 0 and return the sum; branch-free, as branches here are random."""
    total = 0.0
    for entry in range(len(barred_M)):
        open_M[entry] = 0.0 if barred_M[entry] else weights_M[entry]
        total += open_M[entry]
    return total


@_compiled
def _weights_of_the_rest(exponents_M: Values, barred_M: NDArray[np.bool_]) -> Values:
    """Compute the weights again, relative to the largest exponent that is not barred."""
    largest = -np.inf
    for entry in range(len(barred_M)):
        if not barred_M[entry]:
            largest = max(largest, exponents_M[entry])
    return np.exp(exponents_M - largest)
