"""The arrays that the steps of curation pass on: ragged lists in compressed rows.

A list per image is stored as one flat array and `offsets_B1`: image b owns the part from offsets_B1[b] up to
offsets_B1[b + 1]. Shape suffixes: N samples of the dataset, B images of this call, L neighbours, D embedding
dimensions, V concepts of the vocabulary, M mentions, C candidates, O origins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Ids = NDArray[np.int64]
Floats = NDArray[np.floating]

OWN_CAPTION = -1
"""The origin of a candidate that the image's own caption names; other origins are neighbours 0..L-1."""

NO_NEIGHBOUR = -1
"""The id that fills a neighbour list where an image has fewer than L neighbours."""

NO_CLUSTER = -1
"""The cluster of every concept of an archive too short to cluster (fewer than three concepts)."""


@dataclass(frozen=True)
class Mentions:
    """The concepts that the captions of N samples name, each with its similarity to the sample's own image.

    concepts_M is sorted and unique within a sample. similarities_M[m] is the cosine of concept m and the
    image of the sample whose caption names it. It is computed once per sample; every image that has this
    sample as a neighbour reads it, so ranking never reads a neighbour's embedding.
    """

    offsets_N1: Ids
    concepts_M: Ints
    similarities_M: Floats


@dataclass(frozen=True)
class Candidates:
    """The candidates of B images with their origins.

    concepts_C is sorted within an image. The origins of candidate c are the part of origins_O from
    origin_offsets_C1[c] up to origin_offsets_C1[c + 1], ascending: OWN_CAPTION before neighbour positions.
    """

    offsets_B1: Ids
    concepts_C: Ints
    origin_offsets_C1: Ids
    origins_O: Ints


@dataclass(frozen=True)
class Archives:
    """The archives of B images: concepts by descending score, ties by concept id, which is name order.

    global_C and local_C are the parts of the score; clusters_C numbers an archive's clusters from 0 in order
    of first appearance, NO_CLUSTER where the archive is not clustered. Origins as in `Candidates`.
    """

    offsets_B1: Ids
    concepts_C: Ints
    scores_C: Floats
    global_C: Floats
    local_C: Floats
    clusters_C: Ints
    origin_offsets_C1: Ids
    origins_O: Ints
