"""Metrics of archives: ranked concepts against all labels of their images, and against those that captions
leave out.

A concept hits when its label is one of the image's and no earlier concept has hit it, so each label is
credited once and a repeated synonym is a miss. Everything is computed per image and then averaged over the
images that have labels.

Lists of different lengths are compressed rows as in `archives`: a flat array and offsets_B1. Labels are
positions in a list of K label names; labels_V gives the label of each concept (`labels.LabelMap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids, Ints
from cocu.curation.labels import NO_LABEL

__all__ = ["Interval", "Quality", "RaggedIds", "compare", "evaluate", "interval"]

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RaggedIds:
    """A ragged array of ids: image b of B owns ids_M[offsets_B1[b]:offsets_B1[b + 1]], in that order.

    Raises ValueError when the offsets do not rise from 0 to the number of ids.
    """

    offsets_B1: Ids
    ids_M: Ints

    def __post_init__(self) -> None:
        bounds = (int(self.offsets_B1[0]), int(self.offsets_B1[-1]))
        if bounds != (0, len(self.ids_M)) or np.any(np.diff(self.offsets_B1) < 0):
            raise ValueError(f"offsets_B1 must rise from 0 to the {len(self.ids_M)} ids")

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> RaggedIds:
        """Build the array from one sequence per image."""
        offsets = np.cumsum([0, *(len(ids) for ids in lists)], dtype=np.int64)
        return cls(
            offsets_B1=offsets, ids_M=np.array([item for ids in lists for item in ids], dtype=np.int32)
        )

    def __len__(self) -> int:
        return len(self.offsets_B1) - 1

    @property
    def owners(self) -> Ids:
        """The image of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets_B1))

    def keep(self, kept_M: NDArray[np.bool_]) -> RaggedIds:
        """Return the marked entries, in their order."""
        counts_B = np.bincount(self.owners[kept_M], minlength=len(self))
        offsets_B1 = np.concatenate([[0], np.cumsum(counts_B)]).astype(np.int64)
        return RaggedIds(offsets_B1=offsets_B1, ids_M=self.ids_M[kept_M])


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its bootstrap interval over images."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Metrics of archives: per_image[name] is float64 [B], NaN for images that the metric leaves out.

    Names: "recall" (all ranks), "recall@k", "precision@k", "ap" and "ndcg@k"; "caption recall"; the same
    with the prefix "missing " against the labels that the caption does not name, over the images that have
    such labels; with the prefix "added ", the missing labels ranked among the concepts whose label the
    caption does not name (what curation adds, on its own); "size", the concepts per archive. Precision, AP
    and nDCG are strict: a concept that is not of the image is wrong. With the suffix " judged" the concepts
    without one of the K labels are dropped first.
    """

    per_image: Mapping[str, Values]
    empty_archives: float

    def mean(self, metric: str) -> float:
        """The mean over the images that the metric covers; NaN when there are none."""
        values_B = self.per_image[metric]
        covered_B = ~np.isnan(values_B)
        return float(values_B[covered_B].mean()) if covered_B.any() else float("nan")

    def images(self, metric: str) -> int:
        """The number of images that the metric covers."""
        return int((~np.isnan(self.per_image[metric])).sum())

    def means(self) -> dict[str, float]:
        """Every metric's mean by name."""
        return {metric: self.mean(metric) for metric in self.per_image}


def evaluate(
    *,
    archives: RaggedIds,
    captions: RaggedIds,
    labels: RaggedIds,
    labels_V: Ints,
    depths: Sequence[int] = (1, 3, 5, 10),
) -> Quality:
    """Metrics of ranked archives against the labels of their images.

    archives: the concepts of each image, best first. captions: the concepts that its own caption names.
    labels: the labels of the image, each once. labels_V: the label of each concept or NO_LABEL. depths: the
    k of the @k metrics. Images without labels are left out of every mean.

    Raises:
        ValueError: lists for different numbers of images, an image with a label twice, or a depth below 1.
    """
    if not len(archives) == len(captions) == len(labels):
        raise ValueError(
            f"{len(archives)} archives, {len(captions)} captions and {len(labels)} label lists: "
            "give one each per image"
        )
    if any(depth < 1 for depth in depths):
        raise ValueError(f"depths must be at least 1, not {tuple(depths)}")
    label_count = int(max(labels_V.max(initial=0), labels.ids_M.max(initial=0))) + 1
    truth_T = labels.owners * label_count + labels.ids_M
    if len(np.unique(truth_T)) != len(truth_T):
        raise ValueError("an image has the same label twice; give each of its labels once")
    strict = RaggedIds(offsets_B1=archives.offsets_B1, ids_M=labels_V[archives.ids_M])
    judged = strict.keep(strict.ids_M != NO_LABEL)
    named = RaggedIds(offsets_B1=captions.offsets_B1, ids_M=labels_V[captions.ids_M])
    named_M = named.owners[named.ids_M != NO_LABEL] * label_count + named.ids_M[named.ids_M != NO_LABEL]
    missing = labels.keep(~np.isin(truth_T, named_M))
    added = judged.keep(~np.isin(judged.owners * label_count + judged.ids_M, named_M))
    metrics = {
        "size": np.diff(archives.offsets_B1).astype(np.float64),
        "caption recall": _caption_recall(labels, missing),
    }
    for prefix, suffix, ranked, relevant in (
        ("", "", strict, labels),
        ("", " judged", judged, labels),
        ("missing ", "", strict, missing),
        ("missing ", " judged", judged, missing),
        ("added ", " judged", added, missing),
    ):
        for name, values_B in _rank_metrics(ranked, relevant, label_count, depths).items():
            # Dropping unjudged concepts changes ranks, but not which labels the whole list hits.
            if name != "recall" or not suffix or prefix == "added ":
                metrics[f"{prefix}{name}{suffix}"] = values_B
    empty = float(np.mean(metrics["size"] == 0)) if len(archives) else 0.0
    return Quality(per_image=metrics, empty_archives=empty)


def _caption_recall(labels: RaggedIds, missing: RaggedIds) -> Values:
    counts_B = np.diff(labels.offsets_B1)
    with np.errstate(invalid="ignore"):
        return np.asarray((counts_B - np.diff(missing.offsets_B1)) / counts_B, dtype=np.float64)


def _rank_metrics(
    ranked: RaggedIds, relevant: RaggedIds, label_count: int, depths: Sequence[int]
) -> dict[str, Values]:
    """Recall, precision, AP and nDCG of each image; NaN where no label is relevant."""
    owners_R = ranked.owners
    hits_R = _hits(ranked, relevant, label_count)
    ranks_R = np.arange(len(owners_R)) - ranked.offsets_B1[:-1][owners_R] + 1
    counts_B = np.diff(relevant.offsets_B1).astype(np.float64)
    counts_B[counts_B == 0] = np.nan

    def total(weights_R: Values) -> Values:
        return np.asarray(np.bincount(owners_R, weights=weights_R, minlength=len(ranked)), dtype=np.float64)

    running_R = np.cumsum(hits_R)
    before_B = np.concatenate([[0.0], running_R])[ranked.offsets_B1[:-1]]
    precision_R = (running_R - before_B[owners_R]) / ranks_R
    metrics = {"recall": total(hits_R) / counts_B, "ap": total(hits_R * precision_R) / counts_B}
    for depth in depths:
        within_R = np.where(ranks_R <= depth, hits_R, 0.0)
        found_hits_B = total(within_R)
        ideal_B = _ideal_gain(np.minimum(np.nan_to_num(counts_B, nan=1.0), depth).astype(np.int64))
        metrics[f"recall@{depth}"] = found_hits_B / counts_B
        metrics[f"precision@{depth}"] = np.where(np.isnan(counts_B), np.nan, found_hits_B / depth)
        metrics[f"ndcg@{depth}"] = np.where(
            np.isnan(counts_B), np.nan, total(within_R / np.log2(ranks_R + 1)) / ideal_B
        )
    return metrics


def _hits(ranked: RaggedIds, relevant: RaggedIds, label_count: int) -> Values:
    """1 for every entry that is the first of its label in its image where that label is relevant, else 0."""
    keys_R = ranked.owners * label_count + ranked.ids_M
    # Stable order by key: the first of each run is the earliest entry of its image and label.
    order_R = np.argsort(keys_R, kind="stable")
    first_R = np.zeros(len(keys_R), dtype=bool)
    first_R[order_R] = np.diff(keys_R[order_R], prepend=-1) != 0
    relevant_R = np.isin(keys_R, relevant.owners * label_count + relevant.ids_M)
    return np.asarray(first_R & relevant_R & (ranked.ids_M != NO_LABEL), dtype=np.float64)


def _ideal_gain(hits_B: Ids) -> Values:
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(1, hits_B.max(initial=1) + 1) + 1))])
    return np.asarray(gains[hits_B], dtype=np.float64)


def interval(values_B: Values, *, draws: int = 2000, seed: int = 0, coverage: float = 0.95) -> Interval:
    """The mean of a metric over its images, with the percentile bootstrap interval over images.

    NaN entries (images that the metric leaves out) are dropped. Deterministic in the seed.

    Raises:
        ValueError: no image is left.
    """
    values_B = values_B[~np.isnan(values_B)]
    if not len(values_B):
        raise ValueError("there is no image to average over: the metric covers none")
    generator = np.random.default_rng(seed)
    # Row by row: 2,000 draws of 100,000 images at once would be 1.6 GB of positions.
    count = len(values_B)
    means = np.array([values_B[generator.integers(count, size=count)].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Interval(mean=float(values_B.mean()), low=float(low), high=float(high))


def compare(
    first: Quality, second: Quality, metric: str, *, draws: int = 2000, seed: int = 0, coverage: float = 0.95
) -> Interval:
    """The difference second - first of a metric on the same images, with its paired bootstrap interval.

    Raises:
        ValueError: the two are not of the same images, or the metric covers none.
    """
    first_B, second_B = first.per_image[metric], second.per_image[metric]
    if first_B.shape != second_B.shape or np.any(np.isnan(first_B) != np.isnan(second_B)):
        raise ValueError("only qualities of the same images with the same labels can be compared")
    return interval(second_B - first_B, draws=draws, seed=seed, coverage=coverage)
