"""The inverted index of a shard: from each concept to the archives and captions that contain it.

Archives list concepts by image, but frequencies, co-occurrence, the best images of a concept and filters look
up by concept. A `ConceptIndex` serves both with slices of flat arrays, so it can stay in a mapped file.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Archives, Floats, Ids, Ints
from cocu.curation.ragged import offsets_of, owners, take

Flags = NDArray[np.uint8]


@dataclass(frozen=True)
class ConceptIndex:
    """The archives and the captions of B images by image and by concept, over V concepts.

    offsets_B1, concepts_C, scores_C as in `Archives`; added_C is 1 where the image's own caption does not
    name the concept. The entries (positions in the arrays of C) of concept v are the part of entries_C from
    entry_offsets_V1[v] up to entry_offsets_V1[v + 1], best score first, ties by image. In the same way
    caption_rows_M holds the images whose captions name it, ascending.
    """

    offsets_B1: Ids
    concepts_C: Ints
    scores_C: Floats
    added_C: Flags
    entry_offsets_V1: Ids
    entries_C: Ints
    caption_offsets_V1: Ids
    caption_rows_M: Ints

    @classmethod
    def of(
        cls, archives: Archives, *, caption_offsets_B1: Ids, caption_concepts_M: Ints, concepts: int
    ) -> ConceptIndex:
        """Build the index of archives and of the concepts that the captions of the same images name.

        concepts: V. Raises ValueError when archives and captions differ in their number of images.
        """
        images = len(archives.offsets_B1) - 1
        if len(caption_offsets_B1) - 1 != images:
            raise ValueError(f"{images} archives, but {len(caption_offsets_B1) - 1} captions")
        concepts_C = archives.concepts_C.astype(np.int64)
        named_M = owners(caption_offsets_B1) * concepts + caption_concepts_M
        archived_C = owners(archives.offsets_B1) * concepts + concepts_C
        entries_C = np.lexsort((-archives.scores_C.astype(np.float64), concepts_C))
        return cls(
            offsets_B1=archives.offsets_B1.astype(np.int64),
            concepts_C=archives.concepts_C.astype(np.int32),
            scores_C=archives.scores_C.astype(np.float32),
            added_C=(~np.isin(archived_C, named_M)).astype(np.uint8),
            entry_offsets_V1=offsets_of(np.bincount(concepts_C, minlength=concepts)),
            entries_C=entries_C.astype(np.int32),
            caption_offsets_V1=offsets_of(np.bincount(caption_concepts_M, minlength=concepts)),
            caption_rows_M=owners(caption_offsets_B1)[np.argsort(caption_concepts_M, kind="stable")].astype(
                np.int32
            ),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def caption_counts(self) -> Ids:
        """How many captions name each concept, int64 [V]."""
        return np.diff(self.caption_offsets_V1)

    @property
    def archive_counts(self) -> Ids:
        """How many archives hold each concept, int64 [V]."""
        return np.diff(self.entry_offsets_V1)

    @property
    def added_counts(self) -> Ids:
        """How many archives hold each concept without the image's own caption naming it, int64 [V]."""
        return np.bincount(self.concepts_C, weights=self.added_C, minlength=len(self.archive_counts)).astype(
            np.int64
        )

    def entries(self, concept: int) -> Ids:
        """The entries of a concept, best score first."""
        part = slice(self.entry_offsets_V1[concept], self.entry_offsets_V1[concept + 1])
        return self.entries_C[part].astype(np.int64)

    def rows_of(self, entries_K: Ids) -> Ids:
        """The image that each entry belongs to."""
        return np.searchsorted(self.offsets_B1, entries_K, side="right") - 1

    def captioned(self, concept: int) -> Ids:
        """The images whose captions name a concept, ascending."""
        part = slice(self.caption_offsets_V1[concept], self.caption_offsets_V1[concept + 1])
        return self.caption_rows_M[part].astype(np.int64)

    def archived(
        self, concept: int | None = None, *, added: bool | None = None, min_score: float | None = None
    ) -> Ids:
        """Return the images, ascending, whose archives hold at least one concept that meets all conditions.

        concept: the concept is this one. added: the own caption does not name it (True) or names it (False).
        min_score: it scores at least this.
        """
        entries_K = np.arange(len(self.concepts_C)) if concept is None else self.entries(concept)
        if added is not None:
            entries_K = entries_K[self.added_C[entries_K] == added]
        if min_score is not None:
            entries_K = entries_K[self.scores_C[entries_K] >= min_score]
        return np.unique(self.rows_of(entries_K))

    def scores(self, concept: int, rows_R: Ids) -> Floats:
        """Return the score of a concept in the archives of these images, float32 [R].

        rows_R: images, ascending, each of which has the concept.
        """
        entries_K = self.entries(concept)
        rows_K = self.rows_of(entries_K)
        order_K = np.argsort(rows_K, kind="stable")
        return self.scores_C[entries_K[order_K[np.searchsorted(rows_K[order_K], rows_R)]]]

    def archive(self, row: int) -> slice:
        """The entries of an image, best score first."""
        return slice(int(self.offsets_B1[row]), int(self.offsets_B1[row + 1]))

    def counts(self, rows_R: Ids) -> Ids:
        """How many of these images' archives hold each concept, int64 [V]."""
        _, entries_K = take(self.offsets_B1, rows_R)
        return np.bincount(self.concepts_C[entries_K], minlength=len(self.archive_counts))

    def counts_with_added(self, rows_R: Ids) -> tuple[Ids, Ids]:
        """How many of these images' archives hold each concept, and in how many of them it is added, both
        int64 [V].
        """
        _, entries_K = take(self.offsets_B1, rows_R)
        concepts_K, concepts = self.concepts_C[entries_K], len(self.entry_offsets_V1) - 1
        added_K = self.added_C[entries_K].astype(bool)
        return (
            np.bincount(concepts_K, minlength=concepts),
            np.bincount(concepts_K[added_K], minlength=concepts),
        )
