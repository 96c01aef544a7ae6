"""Curation against the plain one: an image at a time in Python with scikit-learn, written from the reference.

Both curate the same images on one core; first their archives are compared: the same concepts, scores equal
to 1e-5.
"""

from __future__ import annotations

import itertools

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import plain_curation
from benchmarks.curation import SHARD, curate_shard
from benchmarks.report import measure, report
from benchmarks.synthetic import SyntheticDataset, make_dataset
from cocu.curation.archives import Archives

BOUND = 30
DIFFERENCE_BOUND = 1e-5
IMAGES = 300


class Plain:
    """The dataset as the plain implementation reads it: lists of lists."""

    def __init__(self, data: SyntheticDataset) -> None:
        concepts, offsets = data.mentions.concepts_M.tolist(), data.mentions.offsets_N1.tolist()
        self.captions = [concepts[start:end] for start, end in itertools.pairwise(offsets)]
        self.neighbours = data.neighbours_NL[:IMAGES].tolist()
        self.images_ND = data.images_ND.astype(np.float32)
        self.concepts_VD = data.concepts_VD

    def archives(self) -> list[list[tuple[int, float]]]:
        """The ranked concepts of the first images; clustered too."""
        return [
            plain_curation.archive(
                anchor=anchor,
                neighbours=self.neighbours[anchor],
                captions=self.captions,
                images_ND=self.images_ND,
                concepts_VD=self.concepts_VD,
            )[0]
            for anchor in range(IMAGES)
        ]


def main() -> None:
    """Compare, measure and report."""
    with threadpool_limits(1):
        data = make_dataset(samples=2 * SHARD)
        plain = Plain(data)
        difference = largest_difference(plain.archives(), curate_shard(data, 0))
        print(f"{IMAGES} archives name the same concepts; scores differ by at most {difference:.1e}")
        ours = measure(lambda: curate_shard(data, 0)).processor / SHARD
        theirs = measure(plain.archives).processor / IMAGES
    print(f"cocu {1 / ours:,.0f} images/s, plain {1 / theirs:,.0f} images/s (processor time, medians)")
    ratio = theirs / ours
    report("curation_plain", ratio, "x", f">= {BOUND}", ratio >= BOUND and difference <= DIFFERENCE_BOUND)


def largest_difference(plain: list[list[tuple[int, float]]], archives: Archives) -> float:
    """The largest difference of a score; archives that name different concepts end the benchmark."""
    largest = 0.0
    for image, expected in enumerate(plain):
        part = slice(archives.offsets_B1[image], archives.offsets_B1[image + 1])
        scores = dict(zip(archives.concepts_C[part].tolist(), archives.scores_C[part].tolist(), strict=True))
        if scores.keys() != dict(expected).keys():
            raise SystemExit(f"image {image}: the two archives name different concepts")
        largest = max([largest, *(abs(scores[concept] - score) for concept, score in expected)])
    return largest


if __name__ == "__main__":
    main()
