"""The score by evidence: the log-odds that a concept belongs to a picture, from captions and from the
encoder.

Three independent-minded witnesses are asked, and their answers add up as log-odds do:

    score(c, i) = prior(c, i) + neighbours * support(c, i)      captions: the local part
                + encoder * z(c, i)                             the encoder: the global part

- prior: log-odds that a caption names c at all, from the captions of the other samples, times
`Calibration.prior`, plus
  the intercept. Where the image's own caption names c, that replaces the prior: captions are right about what
  they name nineteen times in twenty (TRUST_IN_CAPTIONS).
- support: how much more the neighbours' captions name c than captions do at large, as a log-odds ratio. A
neighbour
  counts by its similarity above chance, 0 for that of two random samples and 1 for the same picture, to the
  power `Calibration.sharpness`. One more neighbour of average weight stands for the dataset as a whole, so
  that few neighbours never make certain. Neighbours no nearer than chance say nothing.
- z: the cosine of c and the picture, in standard deviations from its mean over the dataset. It takes away
what made
  cosines incomparable: concepts near every picture (hubs), and scales that differ between encoders.

The weights are fitted to the captions of the dataset itself (`calibration`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import OWN_CAPTION, Floats, Ids, Ints
from cocu.curation.statistics import Calibration, Statistics

__all__ = ["TRUST_IN_CAPTIONS", "Evidence", "gather", "score", "weigh"]

Values = NDArray[np.float64]

TRUST_IN_CAPTIONS = math.log(0.95 / 0.05)
"""Log-odds that a caption is right about a concept that it names."""

_NO_SPREAD = 1e-6
"""A chance similarity this near to 1 means that all pictures look the same: similarity then tells nothing
apart."""


class Evidence(NamedTuple):
    """What the witnesses say of each of C candidates: float64, and bool for own_C (the own caption names
    it)."""

    own_C: NDArray[np.bool_]
    prior_C: Values
    support_C: Values
    z_C: Values


def gather(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats,
    concepts_VD: Floats,
    statistics: Statistics,
    sharpness: float,
) -> Evidence:
    """Collect the evidence on the candidates of B images.

    Candidates and origins are as in `Candidates`; similarities_C are the cosines of candidate and anchor.
    Each image counts as one of the samples of `statistics`, and its own caption is left out of the prior.
    Everything is finite.

    Raises:
        ValueError: the statistics are of another vocabulary or encoder.
    """
    if len(statistics.concept_counts_V) != len(concepts_VD):
        raise ValueError(
            f"statistics of {len(statistics.concept_counts_V)} concepts do not fit {len(concepts_VD)} "
            "embeddings: compute them with the same vocabulary"
        )
    weights_BL = neighbour_weights(
        neighbours_BL, neighbour_similarities_BL, chance=statistics.chance_similarity, sharpness=sharpness
    )
    present_U, places_C = np.unique(concepts_C, return_inverse=True)
    mean_U, deviation_U = statistics.concept_moments(concepts_VD[present_U])
    scale_U = np.where(deviation_U > 0, 1.0 / np.where(deviation_U > 0, deviation_U, 1.0), 0.0)
    z_C = (similarities_C - mean_U[places_C]) * scale_U[places_C]
    own_C, prior_C, support_C = _support(
        offsets_B1,
        concepts_C,
        origin_offsets_C1,
        origins_O,
        weights_BL,
        (neighbours_BL >= 0).sum(axis=1),
        statistics.concept_counts_V,
        statistics.count,
    )
    return Evidence(own_C=own_C, prior_C=prior_C, support_C=support_C, z_C=z_C)


def neighbour_weights(
    neighbours_BL: Ids, neighbour_similarities_BL: Floats, *, chance: float, sharpness: float
) -> Values:
    """The weight of each neighbour's caption, float64 [B, L] in 0..1; 0 where there is no neighbour."""
    similarities_BL = np.nan_to_num(np.asarray(neighbour_similarities_BL, dtype=np.float64))
    if 1.0 - chance <= _NO_SPREAD:
        closeness_BL = np.ones_like(similarities_BL)
    else:
        closeness_BL = np.clip((similarities_BL - chance) / (1.0 - chance), 0.0, 1.0)
    return np.asarray(np.where(neighbours_BL >= 0, closeness_BL**sharpness, 0.0), dtype=np.float64)


def weigh(evidence: Evidence, calibration: Calibration) -> tuple[Values, Values]:
    """The global and the local part of the score of each candidate: they add up to it."""
    prior_C = np.where(
        evidence.own_C, TRUST_IN_CAPTIONS, calibration.intercept + calibration.prior * evidence.prior_C
    )
    return calibration.encoder * evidence.z_C, prior_C + calibration.neighbours * evidence.support_C


def score(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats,
    concepts_VD: Floats,
    statistics: Statistics,
) -> tuple[Floats, Floats, Floats]:
    """Score the candidates of B images by evidence, with the calibration of the statistics.

    Arguments are those of `gather`. The scores of an image depend on nothing of the other images of the call.

    Returns:
        scores_C, global_C and local_C in the dtype of similarities_C: log-odds, and the two parts they are
        the sum of.
    """
    evidence = gather(
        offsets_B1=offsets_B1,
        concepts_C=concepts_C,
        similarities_C=similarities_C,
        origin_offsets_C1=origin_offsets_C1,
        origins_O=origins_O,
        neighbours_BL=neighbours_BL,
        neighbour_similarities_BL=neighbour_similarities_BL,
        concepts_VD=concepts_VD,
        statistics=statistics,
        sharpness=statistics.calibration.sharpness,
    )
    global_C, local_C = weigh(evidence, statistics.calibration)
    dtype = similarities_C.dtype
    global_C, local_C = global_C.astype(dtype), local_C.astype(dtype)
    return global_C + local_C, global_C, local_C


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _support(
    offsets_B1: Ids,
    concepts_C: Ints,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    weights_BL: Values,
    present_B: Ids,
    concept_counts_V: Ids,
    sample_count: int,
) -> tuple[NDArray[np.bool_], Values, Values]:
    own_C = np.zeros(len(concepts_C), np.bool_)
    prior_C = np.empty(len(concepts_C), np.float64)
    support_C = np.zeros(len(concepts_C), np.float64)
    for image in range(len(offsets_B1) - 1):
        total = weights_BL[image].sum()
        dataset = total / present_B[image] if present_B[image] > 0 else 0.0
        for candidate in range(offsets_B1[image], offsets_B1[image + 1]):
            named = 0.0
            own = 0
            for origin in range(origin_offsets_C1[candidate], origin_offsets_C1[candidate + 1]):
                place = origins_O[origin]
                if place == OWN_CAPTION:
                    own = 1
                else:
                    named += weights_BL[image, place]
            own_C[candidate] = own == 1
            # Half a sample each way keeps concepts named by all captions or by none other from certainty.
            count = max(concept_counts_V[concepts_C[candidate]] - own, 0)
            others = max(sample_count - 1, count)
            yes = (count + 0.5) / (others + 1.0)
            prior_C[candidate] = np.log(yes / (1.0 - yes))
            if total > 0.0:
                unnamed = max(total - named, 0.0)
                odds = (named + dataset * yes) / (unnamed + dataset * (1.0 - yes))
                support_C[candidate] = np.log(odds) - prior_C[candidate]
    return own_C, prior_C, support_C
