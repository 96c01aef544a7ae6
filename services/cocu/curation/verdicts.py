"""Verdicts: what human labels say of the concepts in archives, and which labels archives lack."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Ids, Ints
from cocu.curation.concept_index import ConceptIndex
from cocu.curation.labels import NO_LABEL
from cocu.curation.ragged import offsets_of, owners

Flags = NDArray[np.uint8]
Verdict = Literal["hit", "false", "unknown"]
"""Of a concept in the archive of a labelled image. `hit`: it means one of the image's labels. `false`: it
means a label that the image does not have. `unknown`: it means no label of the set, nobody looked for it."""

NOT_LABELLED, UNKNOWN, FALSE, HIT = range(4)
VERDICTS: dict[int, Verdict] = {UNKNOWN: "unknown", FALSE: "false", HIT: "hit"}


@dataclass(frozen=True)
class ShardVerdicts:
    """The verdicts over the archives of B images, whose C entries stand as in the concept index.

    labelled_B: 1 where the image has labels. verdicts_C: of each entry, NOT_LABELLED where it has none. Image
    b has, and its archive lacks, the labels missed_M[missed_offsets_B1[b]:missed_offsets_B1[b + 1]],
    ascending; labels are positions in the classes of the set.
    """

    labelled_B: Flags
    verdicts_C: Flags
    missed_offsets_B1: Ids
    missed_M: Ints

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def verdict(self, entry: int) -> Verdict | None:
        """The verdict of an entry; None where its image has no labels."""
        return VERDICTS.get(int(self.verdicts_C[entry]))

    def missed(self, row: int) -> list[int] | None:
        """The labels that the archive of an image lacks; None where the image has no labels."""
        if not self.labelled_B[row]:
            return None
        part = slice(int(self.missed_offsets_B1[row]), int(self.missed_offsets_B1[row + 1]))
        return [int(label) for label in self.missed_M[part]]

    def rows_missing(self) -> Ids:
        """The images, ascending, whose archives lack one of their labels."""
        return np.flatnonzero(np.diff(self.missed_offsets_B1))

    def rows_with(
        self,
        verdict: Verdict,
        index: ConceptIndex,
        *,
        concept: int | None = None,
        added: bool | None = None,
        min_score: float | None = None,
    ) -> Ids:
        """Return the images, ascending, with a concept of this verdict that meets all other conditions, as
        `ConceptIndex.archived` has them.

        Looks at one byte per entry of the shard, or at the entries of the concept.
        """
        code = next(code for code, name in VERDICTS.items() if name == verdict)
        if concept is None:
            entries_K = np.flatnonzero(self.verdicts_C == code)
        else:
            entries_K = index.entries(concept)
            entries_K = entries_K[self.verdicts_C[entries_K] == code]
        if added is not None:
            entries_K = entries_K[index.added_C[entries_K] == added]
        if min_score is not None:
            entries_K = entries_K[index.scores_C[entries_K] >= min_score]
        return np.unique(index.rows_of(entries_K))


def judge(
    *, offsets_B1: Ids, concepts_C: Ints, labels: list[list[int] | None], labels_V: Ints, classes: int
) -> ShardVerdicts:
    """Judge the archives of B images by their labels.

    offsets_B1, concepts_C: as in `Archives`. labels: of each image its labels, each once, None where it has
    none. labels_V: the label of each concept, or NO_LABEL (see `LabelMap.labels_of_concepts`). classes: how
    many labels the set has. A label that several concepts of an archive mean makes a hit of each.
    """
    images = len(offsets_B1) - 1
    if len(labels) != images:
        raise ValueError(f"{images} archives, but labels of {len(labels)} images")
    labelled_B = np.array([of_image is not None for of_image in labels], np.uint8)
    counts_B = np.array([len(of_image or ()) for of_image in labels], np.int64)
    labels_P = np.array([label for of_image in labels for label in sorted(of_image or ())], np.int64)
    pairs_P = owners(offsets_of(counts_B)) * classes + labels_P
    images_C, labels_C = owners(offsets_B1), labels_V[concepts_C].astype(np.int64)
    pairs_C = np.where(labels_C == NO_LABEL, -1, images_C * classes + labels_C)
    verdicts_C = np.where(np.isin(pairs_C, pairs_P), HIT, FALSE).astype(np.uint8)
    verdicts_C[labels_C == NO_LABEL] = UNKNOWN
    verdicts_C[labelled_B[images_C] == 0] = NOT_LABELLED
    missed_P = ~np.isin(pairs_P, pairs_C)
    missed_counts_B = np.bincount(owners(offsets_of(counts_B))[missed_P], minlength=images)
    return ShardVerdicts(
        labelled_B=labelled_B,
        verdicts_C=verdicts_C,
        missed_offsets_B1=offsets_of(missed_counts_B),
        missed_M=labels_P[missed_P].astype(np.int32),
    )
