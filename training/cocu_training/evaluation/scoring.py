"""Metrics of predicted labels against true labels, over a whole set of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORED = -1


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores in 0 … 1; nan for a class without true and predicted pixels, which means leave out.

    intersections_C, unions_C: pixels, int64, summed over all images. truths_C: pixels of each true class.
    """

    intersections_C: NDArray[np.int64]
    unions_C: NDArray[np.int64]
    truths_C: NDArray[np.int64]

    @property
    def class_iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, [C]."""
        return _ratio(self.intersections_C, self.unions_C)

    @property
    def mean_iou(self) -> float:
        """The mIoU; nan without any pixel."""
        return _mean(self.class_iou)

    @property
    def class_recall(self) -> NDArray[np.float64]:
        """Recall of each class, [C]: the share of its pixels predicted right; nan for a class without
        pixels."""
        return _ratio(self.intersections_C, self.truths_C)

    @property
    def pixel_accuracy(self) -> float:
        """The share of pixels with the right label; nan without any pixel."""
        pixels = int(self.truths_C.sum())
        return int(self.intersections_C.sum()) / pixels if pixels else float("nan")


class Confusion:
    """Counts of pixels by true and predicted class.

    confusion = Confusion(classes=21)
    confusion.add(labels_HW, predicted_HW)
    confusion.scores().mean_iou
    """

    def __init__(self, classes: int) -> None:
        self.counts_CC = np.zeros((classes, classes), np.int64)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.counts_CC)

    def add(self, labels_HW: Tensor, predicted_HW: Tensor) -> None:
        """Count the pixels of an image, without those of label IGNORED; both int64 on the same device.

        Raises ValueError when shapes differ or a class is out of range.
        """
        if labels_HW.shape != predicted_HW.shape:
            raise ValueError(
                f"labels of {tuple(labels_HW.shape)} pixels, predictions of {tuple(predicted_HW.shape)}"
            )
        counted = labels_HW != IGNORED
        labels_P, predicted_P = labels_HW[counted], predicted_HW[counted]
        if len(labels_P) == 0:
            return
        for kind, values_P in (("labels", labels_P), ("predictions", predicted_P)):
            lowest, highest = int(values_P.min()), int(values_P.max())
            if lowest < 0 or highest >= self.classes:
                raise ValueError(f"{kind} from {lowest} to {highest} for {self.classes} classes")
        pairs_P = labels_P * self.classes + predicted_P
        counts_P = torch.bincount(pairs_P, minlength=self.classes**2)
        self.counts_CC += counts_P.cpu().numpy().reshape(self.classes, self.classes)

    def merge(self, other: Confusion) -> None:
        """Add the counts of another confusion matrix."""
        self.counts_CC += other.counts_CC

    def scores(self) -> Scores:
        """Compute the scores of the counts so far."""
        intersections_C = self.counts_CC.diagonal().copy()
        truths_C, predicted_C = self.counts_CC.sum(axis=1), self.counts_CC.sum(axis=0)
        return Scores(
            intersections_C=intersections_C,
            unions_C=truths_C + predicted_C - intersections_C,
            truths_C=truths_C,
        )


def _ratio(part_C: NDArray[np.int64], whole_C: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio_C = np.full(part_C.shape, np.nan)
    np.divide(part_C, whole_C, out=ratio_C, where=whole_C > 0)
    return ratio_C


def _mean(values_C: NDArray[np.float64]) -> float:
    known = values_C[~np.isnan(values_C)]
    return float(known.mean()) if len(known) else float("nan")
