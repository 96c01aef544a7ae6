"""Clustering against scikit-learn's KMeans(n_init=5), archive by archive: inertia and speed on one core."""

from __future__ import annotations

import itertools

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from benchmarks.report import measure, report
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.curation.archives import Candidates
from cocu.curation.clustering import cluster, inertia
from cocu.curation.expansion import expand

INERTIA_BOUND = 1.01
SPEED_BOUND = 30
IMAGES = 5_000
COMPARED = 400


def main() -> None:
    """Measure both and report."""
    with threadpool_limits(1):
        data = make_dataset(samples=10_000)
        candidates = expand(data.mentions, np.arange(IMAGES), data.neighbours_NL[:IMAGES])
        lists = {
            "concepts_VD": data.concepts_VD,
            "offsets_B1": candidates.offsets_B1,
            "concepts_C": candidates.concepts_C,
        }
        archives = embeddings_of(data, candidates)[:COMPARED]
        ours_B = inertia(**lists, clusters_C=cluster(**lists))[:COMPARED]
        theirs_B = np.array([plain_inertia(points) for points in archives])
        ours = measure(lambda: cluster(**lists)).processor / IMAGES
        theirs = measure(lambda: [plain_inertia(points) for points in archives]).processor / COMPARED
    ratio = float(ours_B.mean() / theirs_B.mean())
    worse = float(np.mean(ours_B > INERTIA_BOUND * theirs_B))
    print(f"{COMPARED} archives of {np.mean([len(points) for points in archives]):.1f} concepts on average")
    print(f"mean inertia {ours_B.mean():.4f} against {theirs_B.mean():.4f}; {worse:.1%} are over 1 % worse")
    print(f"{ours * 1e6:.1f} us against {theirs * 1e6:,.0f} us an archive (processor time, medians)")
    report("clustering_speed", theirs / ours, "x", f">= {SPEED_BOUND}", theirs / ours >= SPEED_BOUND)
    report("clustering_inertia", ratio, "x scikit-learn", f"<= {INERTIA_BOUND}", ratio <= INERTIA_BOUND)


def embeddings_of(data: SyntheticDataset, candidates: Candidates) -> list[np.ndarray]:
    """The concept embeddings of every archive."""
    bounds = itertools.pairwise(candidates.offsets_B1)
    return [data.concepts_VD[candidates.concepts_C[start:end]] for start, end in bounds]


def plain_inertia(points: np.ndarray) -> float:
    """scikit-learn's inertia of one archive in ceil(n/2) clusters; 0 where there is nothing to cluster."""
    if len(points) <= 2:
        return 0.0
    return float(KMeans((len(points) + 1) // 2, n_init=5, random_state=0).fit(points).inertia_)


if __name__ == "__main__":
    main()
