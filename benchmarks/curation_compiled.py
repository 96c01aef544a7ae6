"""Whether compiled loops pay: the kernels of `cocu.curation` against the same steps in vectorised numpy.

The numpy versions are written for many images at once, with sorts and segment sums instead of loops. They
may assume what the compiled ones check (neighbours without repeats). Clustering is compared with one seeding
each; numpy then runs Lloyd's iteration, which reaches a higher inertia than the single moves of the compiled
one. Compiling costs some seconds once; the code is cached on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.report import measure, report
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.curation.archives import OWN_CAPTION, Candidates, Floats, Ids, Ints
from cocu.curation.clustering import cluster, inertia
from cocu.curation.expansion import expand
from cocu.curation.ragged import offsets_of, owners, take
from cocu.curation.ranking import Scores, rank

BOUND = 1
IMAGES = 10_000
_TILE = 8_192


def main() -> None:
    """Compare results, measure and report."""
    with threadpool_limits(1):
        data = make_dataset(samples=2 * IMAGES)
        started = time.process_time()
        candidates, scores = compiled_archives(data)
        archives = {
            "concepts_VD": data.concepts_VD,
            "offsets_B1": candidates.offsets_B1,
            "concepts_C": candidates.concepts_C,
        }
        clusters_C = cluster(**archives, restarts=1)
        print(
            f"first call: {time.process_time() - started:.1f} s of processor time (little if compiled before)"
        )
        numpy_candidates, expected = numpy_archives(data)
        assert np.array_equal(numpy_candidates.concepts_C, candidates.concepts_C)
        assert np.array_equal(numpy_candidates.origins_O, candidates.origins_O)
        np.testing.assert_allclose(expected.scores_C, scores.scores_C, atol=1e-4)
        lloyd_C = numpy_clusters(**archives)
        for name, labels in (("compiled", clusters_C), ("numpy", lloyd_C)):
            print(f"{name}: mean inertia {inertia(**archives, clusters_C=labels).mean():.4f}")
        ranking = compare("expand and rank", lambda: compiled_archives(data), lambda: numpy_archives(data))
        clustering = compare(
            "cluster", lambda: cluster(**archives, restarts=1), lambda: numpy_clusters(**archives)
        )
    report("compiled_clustering", clustering, "x numpy", f">= {BOUND}", clustering >= BOUND)
    report("compiled_expansion_and_ranking", ranking, "x numpy", f">= {BOUND}", ranking >= BOUND)


def compare(name: str, compiled: Callable[[], object], vectorised: Callable[[], object]) -> float:
    """How many times faster the compiled version is."""
    ours, theirs = measure(compiled).processor, measure(vectorised).processor
    print(f"{name}: compiled {ours / IMAGES * 1e6:.1f} us/image, numpy {theirs / IMAGES * 1e6:.1f} us/image")
    return theirs / ours


def compiled_archives(data: SyntheticDataset) -> tuple[Candidates, Scores]:
    """Expand and rank with `cocu.curation`."""
    candidates = expand(data.mentions, np.arange(IMAGES), data.neighbours_NL[:IMAGES])
    scores = rank(
        scoring="set",
        candidates=candidates,
        mentions=data.mentions,
        neighbours_BL=data.neighbours_NL[:IMAGES],
        images_BD=data.images_ND[:IMAGES].astype(np.float32),
        concepts_VD=data.concepts_VD,
    )
    return candidates, scores


def numpy_archives(data: SyntheticDataset) -> tuple[Candidates, Scores]:
    """Expand and rank with sorts and segment sums."""
    captions_BL1 = np.concatenate([np.arange(IMAGES)[:, None], data.neighbours_NL[:IMAGES]], axis=1)
    width = captions_BL1.shape[1]
    offsets, mentions_O = take(data.mentions.offsets_N1, captions_BL1.ravel())
    captions_O = owners(offsets)
    images_O, columns_O = captions_O // width, captions_O % width
    pairs_O = images_O * len(data.names) + data.mentions.concepts_M[mentions_O]
    order_O = np.argsort(pairs_O * width + columns_O)
    pairs_O, mentions_O, columns_O = pairs_O[order_O], mentions_O[order_O], columns_O[order_O]
    first_C = np.flatnonzero(np.diff(pairs_O, prepend=-1))
    images_C, concepts_C = pairs_O[first_C] // len(data.names), pairs_O[first_C] % len(data.names)
    candidates = Candidates(
        offsets_B1=offsets_of(np.bincount(images_C, minlength=IMAGES)),
        concepts_C=concepts_C.astype(np.int32),
        origin_offsets_C1=np.append(first_C, len(pairs_O)),
        origins_O=(columns_O - 1).astype(np.int32),
    )
    similarities_C = anchor_similarities(data, images_C, concepts_C)
    references_O = np.where(columns_O - 1 == OWN_CAPTION, 0, data.mentions.similarities_M[mentions_O])
    totals_C = np.add.reduceat(references_O, first_C) + similarities_C
    counts_C = np.add.reduceat((columns_O - 1 != OWN_CAPTION).astype(np.int64), first_C) + 1
    means_C = totals_C / counts_C
    largest_C = np.maximum(np.maximum.reduceat(references_O, first_C), similarities_C)
    largest_B = np.zeros(IMAGES, np.float32)
    np.maximum.at(largest_B, images_C, largest_C)
    largest_C = largest_B[images_C]
    with np.errstate(divide="ignore", invalid="ignore"):
        global_C = np.where(largest_C > 1e-6, similarities_C / largest_C, 0)
        local_C = np.where((counts_C > 1) & (means_C > 1e-6), similarities_C / means_C, 1)
    return candidates, Scores(scores_C=global_C + local_C, global_C=global_C, local_C=local_C)


def anchor_similarities(data: SyntheticDataset, images_C: Ids, concepts_C: Ids) -> Floats:
    """Cosines of pairs, gathered in tiles."""
    similarities_C = np.empty(len(images_C), np.float32)
    images_BD = data.images_ND[:IMAGES].astype(np.float32)
    for start in range(0, len(images_C), _TILE):
        part = slice(start, start + _TILE)
        similarities_C[part] = np.vecdot(images_BD[images_C[part]], data.concepts_VD[concepts_C[part]])
    return similarities_C


def numpy_clusters(*, concepts_VD: Floats, offsets_B1: Ids, concepts_C: Ints) -> Ints:
    """Archives of equal length together: greedy k-means++ once, then Lloyd's iteration, on Gram matrices."""
    clusters_C = np.full(len(concepts_C), -1, np.int32)
    lengths_B = np.diff(offsets_B1)
    for n in np.unique(lengths_B[lengths_B > 2]):
        starts = offsets_B1[:-1][lengths_B == n]
        for tile in np.array_split(starts, -(-len(starts) * n // _TILE)):
            flat_Gn = tile[:, None] + np.arange(n)
            points = concepts_VD[concepts_C[flat_Gn]]
            gram = points @ points.transpose(0, 2, 1)
            squares = np.einsum("gii->gi", gram)
            distances = np.maximum(squares[:, :, None] + squares[:, None] - 2 * gram, 0)
            clusters_C[flat_Gn] = lloyd(distances, greedy_seeds(distances, (n + 1) // 2))
    return clusters_C


def greedy_seeds(distances_Gnn: Floats, k: int) -> Ints:
    """Greedy k-means++ for G archives at once: the nearest seed of every point [G, n]."""
    generator = np.random.default_rng(0)
    archives = np.arange(len(distances_Gnn))
    trials = 2 + int(np.log(k))
    nearest = distances_Gnn[:, generator.integers(distances_Gnn.shape[1])]
    labels = np.zeros(nearest.shape, np.int32)
    for number in range(1, k):
        running = np.cumsum(nearest, axis=1)
        targets = generator.random((len(archives), trials)) * running[:, -1:]
        points = np.minimum((running[:, None] <= targets[..., None]).sum(axis=2), nearest.shape[1] - 1)
        trial = np.minimum(nearest[:, None], distances_Gnn[archives[:, None], points])
        best = trial.sum(axis=2).argmin(axis=1)
        changed = trial[archives, best] < nearest
        nearest = trial[archives, best]
        labels[changed] = number
    return labels


def lloyd(distances_Gnn: Floats, labels_Gn: Ints, iterations: int = 20) -> Ints:
    """Lloyd's iteration for G archives at once, on pairwise distances."""
    k = int(labels_Gn.max()) + 1
    for _ in range(iterations):
        members = (labels_Gn[..., None] == np.arange(k)).astype(np.float32)
        sizes = np.maximum(members.sum(axis=1, keepdims=True), 1)
        sums = distances_Gnn @ members
        spread = (sums * members).sum(axis=1, keepdims=True) / (2 * sizes**2)
        cost = np.where(members.any(axis=1, keepdims=True), sums / sizes - spread, np.inf)
        moved = cost.argmin(axis=2).astype(np.int32)
        if np.array_equal(moved, labels_Gn):
            break
        labels_Gn = moved
    return labels_Gn


if __name__ == "__main__":
    main()
