"""The worked example of the reference, section 9: four images, four concepts, unit vectors."""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Mentions

NAMES = ("dog", "grass", "man", "woman")
DOG, GRASS, MAN, WOMAN = range(4)
CONCEPTS_VD = np.array([[0.48, 0.6, 0.64, 0], [0, 0.6, 0.8, 0], [0.8, 0, 0.6, 0], [0.6, 0, 0, 0.8]])
IMAGES_ND = np.array([[0.8, 0.6, 0, 0], [0.6, 0, 0.8, 0], [0.5, 0.5, 0.5, 0.5], [0, 0, 0.6, 0.8]])
CAPTIONS = ((DOG, MAN), (GRASS, WOMAN), (GRASS, MAN), (WOMAN,))


def mentions_of(
    captions: tuple[tuple[int, ...], ...], images_ND: np.ndarray, concepts_VD: np.ndarray
) -> Mentions:
    """Mentions of captions given as concept ids."""
    offsets = np.cumsum([0] + [len(caption) for caption in captions])
    rows = np.repeat(np.arange(len(captions)), np.diff(offsets))
    concepts = np.array([concept for caption in captions for concept in sorted(caption)], np.int32)
    similarities = np.einsum("md,md->m", images_ND[rows], concepts_VD[concepts])
    return Mentions(offsets_N1=offsets.astype(np.int64), concepts_M=concepts, similarities_M=similarities)


MENTIONS = mentions_of(CAPTIONS, IMAGES_ND, CONCEPTS_VD)
