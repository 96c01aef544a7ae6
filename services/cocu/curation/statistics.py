"""The statistics of a dataset that the score "evidence" needs: sums over its shards, and the calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ids, Mentions

__all__ = ["Calibration", "Statistics"]

_TILE = 2048
"""Rows of an embedding matrix widened to float64 at a time: it bounds the memory of `of_shard`."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The weights of `evidence.score`, and the sharpness of its kernel.

    The defaults were fitted to the captions of a few hundred photographs and rounded; they serve where a
    dataset is too small for a fit of its own. `calibration.calibrate` fits the weights to the captions of a
    dataset, without labels.
    """

    sharpness: float = 2.0
    intercept: float = 0.5
    prior: float = 1.25
    neighbours: float = 0.75
    encoder: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Sums over the samples of a dataset, per concept and over the embeddings.

    count: samples; concept_counts_V int64: samples whose caption names the concept; image_sum_D and
    image_products_DD float64: the sum of the image embeddings and of their outer products; calibration: see
    `Calibration`.
    """

    count: int
    concept_counts_V: Ids
    image_sum_D: NDArray[np.float64]
    image_products_DD: NDArray[np.float64]
    calibration: Calibration = Calibration()

    @classmethod
    def of_shard(cls, *, mentions: Mentions, images_ND: Floats, concept_count: int) -> Statistics:
        """Compute the statistics of one shard from its mentions (rows 0..n-1) and embeddings [n, D] of any
        float.

        Reads the embeddings in tiles, so a memory-mapped matrix stays on disk.

        Raises:
            ValueError: mentions and embeddings differ in length, or a concept is not below concept_count.
        """
        rows = len(mentions.offsets_N1) - 1
        if images_ND.ndim != 2 or len(images_ND) != rows:
            raise ValueError(
                f"images_ND {images_ND.shape} must have a row for each of the {rows} samples of mentions"
            )
        if np.any((mentions.concepts_M < 0) | (mentions.concepts_M >= concept_count)):
            raise ValueError(
                f"mentions name a concept outside 0..{concept_count - 1}: give the vocabulary's length"
            )
        dimension = images_ND.shape[1]
        image_sum_D = np.zeros(dimension)
        image_products_DD = np.zeros((dimension, dimension))
        for start in range(0, rows, _TILE):
            tile_TD = np.asarray(images_ND[start : start + _TILE], dtype=np.float64)
            image_sum_D += tile_TD.sum(axis=0)
            image_products_DD += tile_TD.T @ tile_TD
        counts_V = np.bincount(mentions.concepts_M, minlength=concept_count).astype(np.int64)
        return cls(
            count=rows,
            concept_counts_V=counts_V,
            image_sum_D=image_sum_D,
            image_products_DD=image_products_DD,
        )

    @classmethod
    def merge(cls, parts: Iterable[Statistics]) -> Statistics:
        """Add up the statistics of several shards, with the default calibration.

        Sums in the order given: the same parts in the same order give the same bits; another grouping
        differs only by rounding. Looks at one part at a time.

        Raises:
            ValueError: no parts, or parts of different vocabularies or encoders.
        """
        remaining = iter(parts)
        first = next(remaining, None)
        if first is None:
            raise ValueError("there is nothing to merge: give the statistics of at least one shard")
        count, shapes = first.count, first._shapes
        # Added to zeros, as every other part is: -0.0 becomes 0.0.
        counts_V = np.zeros_like(first.concept_counts_V) + first.concept_counts_V
        image_sum_D = np.zeros_like(first.image_sum_D) + first.image_sum_D
        image_products_DD = np.zeros_like(first.image_products_DD) + first.image_products_DD
        del first
        for part in remaining:
            if part._shapes != shapes:
                raise ValueError(
                    "parts of different vocabularies or encoders cannot be merged: "
                    f"shapes {sorted({shapes, part._shapes})}"
                )
            count += part.count
            counts_V += part.concept_counts_V
            image_sum_D += part.image_sum_D
            image_products_DD += part.image_products_DD
        return cls(
            count=count,
            concept_counts_V=counts_V,
            image_sum_D=image_sum_D,
            image_products_DD=image_products_DD,
        )

    @property
    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.concept_counts_V.shape, self.image_products_DD.shape

    def with_calibration(self, calibration: Calibration) -> Statistics:
        """The same sums with another calibration."""
        return replace(self, calibration=calibration)

    @property
    def chance_similarity(self) -> float:
        """The mean cosine of two different samples: a similarity below it carries no information."""
        if self.count < 2:
            return 0.0
        pairs = self.image_sum_D @ self.image_sum_D - np.trace(self.image_products_DD)
        return float(pairs / (self.count * (self.count - 1)))

    def concept_moments(self, concepts_VD: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation over all samples of each concept's cosine, float64 [V] each.

        They follow from the mean and the covariance of the embeddings, so no N x V matrix is needed. A
        deviation that is within rounding of zero is given as exactly 0.

        Raises:
            ValueError: the embeddings of the concepts have another dimension.
        """
        if concepts_VD.ndim != 2 or concepts_VD.shape[1] != len(self.image_sum_D):
            raise ValueError(f"concepts_VD {concepts_VD.shape} must have {len(self.image_sum_D)} columns")
        concepts_VD = np.asarray(concepts_VD, dtype=np.float64)
        count = max(self.count, 1)
        mean_D = self.image_sum_D / count
        covariance_DD = self.image_products_DD / count - np.outer(mean_D, mean_D)
        variance_V = np.einsum("vd,vd->v", concepts_VD @ covariance_DD, concepts_VD)
        deviation_V = np.where(variance_V > _ROUNDING, np.sqrt(np.maximum(variance_V, 0.0)), 0.0)
        return concepts_VD @ mean_D, deviation_V

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The statistics as named arrays, to be stored with `numpy.savez` and read without pickle."""
        calibration = self.calibration
        return {
            "count": np.array(self.count, dtype=np.int64),
            "concept_counts_V": self.concept_counts_V,
            "image_sum_D": self.image_sum_D,
            "image_products_DD": self.image_products_DD,
            "calibration": np.array([getattr(calibration, name) for name in _CALIBRATION], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Statistics:
        """Build the statistics from the arrays of `to_arrays`.

        Raises:
            ValueError: an array is missing.
        """
        missing = {"count", "concept_counts_V", "image_sum_D", "image_products_DD", "calibration"} - set(
            arrays
        )
        if missing:
            raise ValueError(f"these are not the arrays of statistics: {', '.join(sorted(missing))} missing")
        weights = dict(zip(_CALIBRATION, (float(weight) for weight in arrays["calibration"]), strict=True))
        return cls(
            count=int(arrays["count"]),
            concept_counts_V=np.asarray(arrays["concept_counts_V"], dtype=np.int64),
            image_sum_D=np.asarray(arrays["image_sum_D"], dtype=np.float64),
            image_products_DD=np.asarray(arrays["image_products_DD"], dtype=np.float64),
            calibration=Calibration(**weights),
        )


_CALIBRATION = ("sharpness", "intercept", "prior", "neighbours", "encoder")

_ROUNDING = 1e-10
"""A variance of a cosine below this is rounding, not a difference between images."""
