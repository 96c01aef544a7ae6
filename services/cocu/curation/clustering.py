"""k-means of many small archives at once, on pairwise distances instead of vectors.

An archive of n concepts is clustered into ceil(n/2) clusters. k-means needs only the Gram matrix of the
embeddings: with squared distances d(i, j) the inertia of a cluster Q is the sum of d over its pairs divided
by |Q|, so moving a point costs O(1) arithmetic per cluster, whatever D is.

Seeding is greedy k-means++ (Arthur and Vassilvitskii 2007, with 2 + ln k trials for each seed); then single
points move as long as that lowers the inertia (Hartigan and Wong 1979). Every such optimum is an optimum of
Lloyd's iteration too, but not the other way round. This matters here: with two points per cluster, Lloyd's
iteration stops early.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from cocu.curation.archives import NO_CLUSTER, Floats, Ids, Ints
from cocu.curation.kernels import dot, sort_keys
from cocu.curation.numba_cache import compiled

__all__ = ["LONGEST_CLUSTERED", "cluster", "inertia"]

LONGEST_CLUSTERED = 2048
"""Longer archives stay unclustered: only captions that list a whole vocabulary are longer, and cost n^2."""

RESTARTS = 3
_SHORT = 128
_SWEEPS = 100
# Moves must gain more than this share of the archive's spread, so that rounding cannot make them circle.
_SMALLEST_GAIN = 1e-10


def cluster(
    *, concepts_VD: Floats, offsets_B1: Ids, concepts_C: Ints, seed: int = 0, restarts: int = RESTARTS
) -> Ints:
    """Cluster the concepts of every archive: int32 cluster numbers [C].

    concepts_VD are the embeddings of the vocabulary (float32 or float64), concepts_C the concept ids of B
    archives. An archive of n concepts gets exactly ceil(n/2) non-empty clusters, numbered from 0 in order of
    first appearance; archives of fewer than three or more than LONGEST_CLUSTERED concepts get NO_CLUSTER.
    Archives beyond 128 concepts are seeded once instead of `restarts` times.

    Which concepts share a cluster is a pure function of the archive's set of concepts, their embeddings and
    `seed`: neither the order of the concepts nor the other archives play a part. Memory beyond the result is
    one distance matrix of the longest archive. Raises ValueError for ids outside the vocabulary or offsets
    that do not fit. Reference: section 7.
    """
    concepts_VD = np.ascontiguousarray(
        concepts_VD, np.float64 if concepts_VD.dtype == np.float64 else np.float32
    )
    concepts_C = np.ascontiguousarray(concepts_C, np.int32)
    offsets_B1 = np.ascontiguousarray(offsets_B1, np.int64)
    if restarts < 1:
        raise ValueError(f"restarts must be at least 1, not {restarts}")
    lengths_B = np.diff(offsets_B1)
    if (
        len(offsets_B1) == 0
        or offsets_B1[-1] != len(concepts_C)
        or offsets_B1[0] != 0
        or np.any(lengths_B < 0)
    ):
        raise ValueError(f"offsets_B1 must ascend from 0 to the {len(concepts_C)} concepts given")
    if len(concepts_C) and not 0 <= concepts_C.min() <= concepts_C.max() < len(concepts_VD):
        raise ValueError(f"concept ids must be between 0 and {len(concepts_VD) - 1}, the rows of concepts_VD")
    longest = int(lengths_B[lengths_B <= LONGEST_CLUSTERED].max(initial=0))
    return _cluster(concepts_VD, offsets_B1, concepts_C, np.uint64(seed & (2**64 - 1)), restarts, longest)


def inertia(*, concepts_VD: Floats, offsets_B1: Ids, concepts_C: Ints, clusters_C: Ints) -> Floats:
    """The sum of squared distances to the cluster means of every archive, float64 [B]; 0 if unclustered."""
    inertia_B = np.zeros(len(offsets_B1) - 1)
    for image, (start, end) in enumerate(itertools.pairwise(offsets_B1)):
        points = concepts_VD[concepts_C[start:end]].astype(np.float64)
        clusters = clusters_C[start:end]
        for number in range(int(clusters.max(initial=NO_CLUSTER)) + 1):
            members = points[clusters == number]
            inertia_B[image] += ((members - members.mean(axis=0)) ** 2).sum()
    return inertia_B


@compiled(nogil=True, error_model="numpy")
def _cluster(
    concepts_VD: Floats, offsets_B1: Ids, concepts_C: Ints, seed: np.uint64, restarts: int, longest: int
) -> Ints:
    max_clusters = (longest + 1) // 2
    clusters_C = np.full(len(concepts_C), NO_CLUSTER, np.int32)
    distances = np.empty(longest * longest)
    sums = np.empty(longest * max_clusters)
    nearest = np.empty(longest)
    trial = np.empty(longest)
    within = np.empty(max_clusters)
    sizes = np.empty(max_clusters)
    labels = np.empty(longest, np.int32)
    best = np.empty(longest, np.int32)
    keys = np.empty(longest, np.int64)
    scratch = np.empty(longest, np.int64)
    for image in range(len(offsets_B1) - 1):
        start = offsets_B1[image]
        n = offsets_B1[image + 1] - start
        if n < 3 or n > longest:
            continue
        k = (n + 1) // 2
        for position in range(n):
            keys[position] = np.int64(concepts_C[start + position]) << 32 | position
        sort_keys(keys, scratch, n)
        distances_nn = distances[: n * n].reshape((n, n))
        sums_nk = sums[: n * k].reshape((n, k))
        smallest_gain = _SMALLEST_GAIN * _fill_distances(concepts_VD, keys, distances_nn) / n
        lowest = np.inf
        for restart in range(restarts if n <= _SHORT else 1):
            state = seed + np.uint64(restart) * np.uint64(0xD1B54A32D192ED03)
            _seed(distances_nn, k, state, nearest, trial, labels, within)
            reached = _descend(distances_nn, sums_nk, labels, within, sizes, smallest_gain)
            if reached < lowest - smallest_gain:
                lowest = reached
                for position in range(n):
                    best[position] = labels[position]
        for position in range(n):
            clusters_C[start + (keys[position] & 0xFFFFFFFF)] = best[position]
        _renumber(clusters_C[start : start + n], labels, k)
    return clusters_C


@compiled(nogil=True, error_model="numpy")
def _fill_distances(concepts_VD: Floats, keys: Ids, distances_nn: Floats) -> float:
    """Fill in the squared distances of the concepts in `keys`; their sum over all pairs."""
    n = len(distances_nn)
    total = 0.0
    for i in range(n):
        row = concepts_VD[keys[i] >> 32]
        for j in range(i + 1):
            distances_nn[i, j] = dot(row, concepts_VD[keys[j] >> 32])
    for i in range(n):
        for j in range(i):
            # Rounding can make the distance of equal rows slightly negative.
            squared = max(distances_nn[i, i] + distances_nn[j, j] - 2 * distances_nn[i, j], 0.0)
            distances_nn[i, j] = squared
            distances_nn[j, i] = squared
            total += squared
    for i in range(n):
        distances_nn[i, i] = 0.0
    return total


@compiled(nogil=True, error_model="numpy")
def _random(state: np.uint64) -> tuple[float, np.uint64]:
    """A number in [0, 1) and the next state (SplitMix64)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)) * 2.0**-53, state


@compiled(nogil=True, error_model="numpy")
def _seed(
    distances_nn: Floats,
    k: int,
    state: np.uint64,
    nearest: Floats,
    trial: Floats,
    labels: Ints,
    seeds: Floats,
) -> None:
    """Greedy k-means++: choose k points as seeds and label every point with its nearest seed."""
    n = len(distances_nn)
    trials = 2 + int(math.log(k))
    drawn, state = _random(state)
    chosen = int(drawn * n)
    for i in range(n):
        nearest[i] = distances_nn[chosen, i]
        labels[i] = 0
    seeds[0] = chosen
    for number in range(1, k):
        potential = 0.0
        for i in range(n):
            potential += nearest[i]
        lowest = np.inf
        for _ in range(trials):
            drawn, state = _random(state)
            point = _draw(nearest, labels, seeds, n, drawn * potential)
            reached = 0.0
            for i in range(n):
                trial[i] = min(nearest[i], distances_nn[point, i])
                reached += trial[i]
            if reached < lowest:
                lowest = reached
                chosen = point
        for i in range(n):
            if distances_nn[chosen, i] < nearest[i]:
                nearest[i] = distances_nn[chosen, i]
                labels[i] = number
        seeds[number] = chosen
        # Even among equal points a seed is in its own cluster, so that no cluster is empty.
        labels[chosen] = number


@compiled(nogil=True, error_model="numpy")
def _draw(nearest: Floats, labels: Ints, seeds: Floats, n: int, target: float) -> int:
    """The point at which the running sum of `nearest` passes the target; never a seed."""
    point = -1
    running = 0.0
    for i in range(n):
        if nearest[i] > 0:
            running += nearest[i]
            point = i
            if running > target:
                break
    if point >= 0:
        return point
    # Every point left equals a seed: take the first that is not one itself.
    for i in range(n):
        if seeds[labels[i]] != i:
            return i
    return 0


@compiled(nogil=True, error_model="numpy")
def _descend(
    distances_nn: Floats, sums_nk: Floats, labels: Ints, within: Floats, sizes: Floats, smallest_gain: float
) -> float:
    """Move single points between clusters while that lowers the inertia; the inertia reached."""
    n, k = sums_nk.shape
    for number in range(k):
        within[number] = 0.0
        sizes[number] = 0.0
        for i in range(n):
            sums_nk[i, number] = 0.0
    for j in range(n):
        sizes[labels[j]] += 1
        for i in range(n):
            sums_nk[i, labels[j]] += distances_nn[j, i]
    for i in range(n):
        within[labels[i]] += sums_nk[i, labels[i]] / 2
    settled = 0
    point = 0
    for _ in range(_SWEEPS * n):
        if settled == n:
            break
        if _move(point, distances_nn, sums_nk, labels, within, sizes, smallest_gain):
            settled = 0
        else:
            settled += 1
        point = point + 1 if point + 1 < n else 0
    reached = 0.0
    for number in range(k):
        reached += within[number] / sizes[number]
    return reached


@compiled(nogil=True, error_model="numpy")
def _move(
    point: int,
    distances_nn: Floats,
    sums_nk: Floats,
    labels: Ints,
    within: Floats,
    sizes: Floats,
    smallest_gain: float,
) -> bool:
    """Move a point to the cluster where it costs least; the last point of a cluster stays."""
    n, k = sums_nk.shape
    source = labels[point]
    if sizes[source] == 1:
        return False
    gain = within[source] / sizes[source] - (within[source] - sums_nk[point, source]) / (sizes[source] - 1)
    lowest = gain - smallest_gain
    target = source
    for number in range(k):
        cost = (within[number] + sums_nk[point, number]) / (sizes[number] + 1) - within[number] / sizes[
            number
        ]
        if cost < lowest and number != source:
            lowest = cost
            target = number
    if target == source:
        return False
    within[source] -= sums_nk[point, source]
    within[target] += sums_nk[point, target]
    sizes[source] -= 1
    sizes[target] += 1
    labels[point] = target
    for i in range(n):
        sums_nk[i, source] -= distances_nn[point, i]
        sums_nk[i, target] += distances_nn[point, i]
    return True


@compiled(nogil=True, error_model="numpy")
def _renumber(clusters_n: Ints, numbers: Ints, k: int) -> None:
    """Number the clusters from 0 in order of first appearance."""
    for number in range(k):
        numbers[number] = NO_CLUSTER
    seen = 0
    for position in range(len(clusters_n)):
        cluster_number = clusters_n[position]
        if numbers[cluster_number] == NO_CLUSTER:
            numbers[cluster_number] = seen
            seen += 1
        clusters_n[position] = numbers[cluster_number]
