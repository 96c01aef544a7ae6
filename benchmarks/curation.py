"""Images curated per second on one core: expand, rank, order and cluster, L = 16, 100,000 synthetic samples.

As in the platform, images come in shards of 10,000 with float16 embeddings. Figures are processor time of the
process (one thread), so that other processes on the machine do not count; wall-clock time is printed beside.
"""

from __future__ import annotations

import resource
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.report import measure, report
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.curation.archives import Archives
from cocu.curation.clustering import cluster
from cocu.curation.curate import curate, select
from cocu.curation.expansion import expand
from cocu.curation.parameters import CurationParameters
from cocu.curation.ranking import rank
from cocu.curation.statistics import Statistics

BOUND = 5_000
SHARD = 10_000
PARAMETERS = CurationParameters(neighbours=16)


def curate_shard(
    data: SyntheticDataset,
    start: int,
    *,
    scoring: str = "set",
    statistics: Statistics | None = None,
) -> Archives:
    """The archives of one shard."""
    rows = slice(start, start + SHARD)
    return curate(
        mentions=data.mentions,
        anchors_B=np.arange(start, start + SHARD),
        neighbours_BL=data.neighbours_NL[rows],
        neighbour_similarities_BL=data.similarities_NL[rows],
        images_BD=data.images_ND[rows].astype(np.float32),
        concepts_VD=data.concepts_VD,
        names=data.names,
        parameters=replace(PARAMETERS, scoring=scoring),
        statistics=statistics,
        embeddings_of=lambda rows_n: data.images_ND[rows_n].astype(np.float32),
    )


def curate_all(data: SyntheticDataset, scoring: str, statistics: Statistics) -> None:
    """Curate shard after shard, keeping none, as a worker does that writes each to a file."""
    for start in range(0, len(data.images_ND), SHARD):
        curate_shard(data, start, scoring=scoring, statistics=statistics)


def peak_mebibytes() -> float:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_steps(data: SyntheticDataset, statistics: Statistics) -> None:
    """The share of each step, on one shard."""
    anchors, neighbours = np.arange(SHARD), data.neighbours_NL[:SHARD]
    images = data.images_ND[:SHARD].astype(np.float32)
    candidates = expand(data.mentions, anchors, neighbours)
    ranked = {
        "scoring": PARAMETERS.scoring,
        "candidates": candidates,
        "mentions": data.mentions,
        "neighbours_BL": neighbours,
        "images_BD": images,
        "concepts_VD": data.concepts_VD,
        "neighbour_similarities_BL": data.similarities_NL[:SHARD],
        "statistics": statistics,
    }
    scores = rank(**ranked)
    archives = select(candidates, scores)
    steps = {
        "widen float16": lambda: data.images_ND[:SHARD].astype(np.float32),
        "expand": lambda: expand(data.mentions, anchors, neighbours),
        "rank": lambda: rank(**ranked),
        "order": lambda: select(candidates, scores),
        "cluster": lambda: cluster(
            concepts_VD=data.concepts_VD, offsets_B1=archives.offsets_B1, concepts_C=archives.concepts_C
        ),
    }
    for name, step in steps.items():
        print(f"  {name:14s} {measure(step).processor / SHARD * 1e6:7.2f} us/image")
    print_limits(archives, data.concepts_VD.shape[1])


def print_limits(archives: Archives, dim: int) -> None:
    """The arithmetic of one image, and what a core's matrix product would need for it."""
    lengths = np.diff(archives.offsets_B1).astype(float)
    operations = 2 * dim * (lengths + lengths * (lengths + 1) / 2).mean()
    square = np.ones((1024, 1024), np.float32)
    rate = 2 * 1024**3 / measure(lambda: square @ square).processor
    print(f"  archive: {lengths.mean():.1f} concepts on average, {lengths.max():.0f} at most")
    print(
        f"  limit: {operations / 1e3:.0f} kFLOP/image of inner products (anchor and Gram matrix), "
        f"{operations / rate * 1e6:.1f} us at the {rate / 1e9:.0f} GFLOP/s of a large product on this core"
    )


def main() -> None:
    """Measure and report."""
    with threadpool_limits(1):
        data = make_dataset()
        samples = len(data.images_ND)
        mentions = len(data.mentions.concepts_M) / samples
        print(
            f"{samples:,} samples, V = {len(data.names):,}, D = 512, L = 16, {mentions:.2f} mentions/caption"
        )
        statistics = Statistics.of_shard(
            mentions=data.mentions, images_ND=data.images_ND, concept_count=len(data.names)
        )
        print_steps(data, statistics)
        before = peak_mebibytes()
        for scoring in ("official", "set", PARAMETERS.scoring):
            timing = measure(lambda chosen=scoring: curate_all(data, chosen, statistics))
            rate = samples / timing.processor
            wall_rate = samples / timing.wall
            print(f"{scoring}: {rate:,.0f} images/s of processor time, {wall_rate:,.0f} of wall-clock time")
            if scoring != PARAMETERS.scoring:
                report(f"curation_{scoring}", rate, "images/s/core", f">= {BOUND}", rate >= BOUND)
    print(f"peak memory from the first shard to the last: + {peak_mebibytes() - before:.0f} MiB")
    report("curation", rate, "images/s/core", f">= {BOUND}", rate >= BOUND)


if __name__ == "__main__":
    main()
