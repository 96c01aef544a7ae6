"""Columns of the archives of a shard: a few numbers per image, by which lists are filtered and sorted.

A list of a million archives sorted by what they gained needs one number of each. Columns hold it in 16 bytes
per image, so that no list reads archives that it does not show.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ints
from cocu.curation.concept_index import ConceptIndex
from cocu.curation.ragged import owners

NO_SCORE = np.float32(-np.inf)
"""The best score where an archive has no such concept: lower than every score."""


@dataclass(frozen=True)
class ArchiveColumns:
    """A number per archive, for B images.

    sizes_B: how many concepts it has. gains_B: how many of them the own caption does not name.
    best_added_B: the best score among these, NO_SCORE without any. best_named_B: the same among the concepts
    that the own caption names.
    """

    sizes_B: Ints
    gains_B: Ints
    best_added_B: Floats
    best_named_B: Floats

    @classmethod
    def of(cls, index: ConceptIndex) -> ArchiveColumns:
        """Compute the columns from the index of the same shard."""
        images = len(index.offsets_B1) - 1
        images_C = owners(index.offsets_B1)
        added_C = index.added_C.astype(bool)
        return cls(
            sizes_B=np.diff(index.offsets_B1).astype(np.int32),
            gains_B=np.bincount(images_C[added_C], minlength=images).astype(np.int32),
            best_added_B=_first_scores(images_C[added_C], index.scores_C[added_C], images),
            best_named_B=_first_scores(images_C[~added_C], index.scores_C[~added_C], images),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def nbytes(self) -> int:
        """The memory that the arrays take, in bytes."""
        return sum(array.nbytes for array in self.to_arrays().values())

    def holding(self, *, added: bool | None = None, min_score: float | None = None) -> NDArray[np.bool_]:
        """Return for each archive whether at least one of its concepts meets all conditions, as
        `ConceptIndex.archived` finds them.

        Without a condition there still must be a concept.
        """
        if min_score is None:
            counts_B = {None: self.sizes_B, True: self.gains_B, False: self.sizes_B - self.gains_B}[added]
            return np.asarray(counts_B > 0)
        best_B = {
            None: np.maximum(self.best_added_B, self.best_named_B),
            True: self.best_added_B,
            False: self.best_named_B,
        }[added]
        # NO_SCORE is no score: not even a bound of minus infinity is reached by it.
        return np.asarray((best_B >= min_score) & (best_B > NO_SCORE))


def _first_scores(images_K: NDArray[np.int64], scores_K: Floats, images: int) -> Floats:
    """Return the first score of each image; archives are sorted, so it is the best."""
    best_B = np.full(images, NO_SCORE, np.float32)
    first_K = np.flatnonzero(np.diff(images_K, prepend=-1))
    best_B[images_K[first_K]] = scores_K[first_K]
    return best_B
