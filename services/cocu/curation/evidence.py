"""The score "evidence": the log-odds that a concept belongs to an image, from captions and the encoder.

It adds three pieces of evidence, treated as independent, so that their log-odds add up:

    score(c, i) = prior(c, i) + neighbours * support(c, i)      captions: the local part
                + encoder * z(c, i)                             the encoder: the global part

- prior: the log-odds that any caption names c, from the captions of the other samples, times
  `Calibration.prior`, plus the intercept. Where the image's own caption names c, TRUST_IN_CAPTIONS replaces
  the prior: a caption is right about 19 of 20 concepts that it names.
- support: the log-odds ratio of how often the neighbours' captions name c and how often all captions do. The
  weight of a neighbour is its similarity above chance (0 for the mean similarity of two samples, 1 for the
  same image) to the power `Calibration.sharpness`. One more neighbour of average weight stands for the whole
  dataset, so that a few neighbours never give certainty. Neighbours no nearer than chance count nothing.
- z: the cosine of c and the image, in standard deviations from its mean over the dataset. This removes what
  makes cosines incomparable: concepts that are near every image (hubs), and the scales of encoders.

The weights are fitted to the captions of the dataset itself (`calibration`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import OWN_CAPTION, Floats, Ids, Ints
from cocu.curation.numba_cache import compiled
from cocu.curation.ragged import owners
from cocu.curation.statistics import Calibration, Statistics

__all__ = ["TRUST_IN_CAPTIONS", "Evidence", "LocalParts", "gather", "score", "split_local", "weigh"]

Values = NDArray[np.float64]

TRUST_IN_CAPTIONS = math.log(0.95 / 0.05)
"""Log-odds that a caption is right about a concept that it names."""

_NO_SPREAD = 1e-6
"""If the chance similarity is this near to 1, all images look the same and similarity carries no evidence."""


class Evidence(NamedTuple):
    """The evidence on each of C candidates, float64; own_C says whether the image's own caption names it."""

    own_C: NDArray[np.bool_]
    prior_C: Values
    support_C: Values
    z_C: Values


class LocalParts(NamedTuple):
    """The local part of the score of C candidates, split: local = prior + support, float64 in log-odds.

    shares_O: the share of each origin in the weights of the neighbours whose captions name the candidate;
    those of a candidate add up to 1. NaN for the own caption, and where all of these neighbours weigh 0.
    """

    prior_C: Values
    support_C: Values
    shares_O: Values


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
    Each image counts as one of the samples of `statistics`; its own caption is left out of the prior. All
    values are finite.

    Raises:
        ValueError: the statistics belong to another vocabulary or encoder.
    """
    if len(statistics.concept_counts_V) != len(concepts_VD):
        raise ValueError(
            f"statistics of {len(statistics.concept_counts_V)} concepts do not fit {len(concepts_VD)} "
            "embeddings: compute them with the same vocabulary"
        )
    weights_BL = neighbour_weights(
        neighbours_BL, neighbour_similarities_BL, chance=statistics.chance_similarity, sharpness=sharpness
    )
    concepts_U, indices_C = np.unique(concepts_C, return_inverse=True)
    mean_U, deviation_U = statistics.concept_moments(concepts_VD[concepts_U])
    scale_U = np.where(deviation_U > 0, 1.0 / np.where(deviation_U > 0, deviation_U, 1.0), 0.0)
    z_C = (similarities_C - mean_U[indices_C]) * scale_U[indices_C]
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
    """Return the weights of the neighbours' captions, float64 [B, L] in 0..1; 0 where there is none."""
    similarities_BL = np.nan_to_num(np.asarray(neighbour_similarities_BL, dtype=np.float64))
    if 1.0 - chance <= _NO_SPREAD:
        closeness_BL = np.ones_like(similarities_BL)
    else:
        closeness_BL = np.clip((similarities_BL - chance) / (1.0 - chance), 0.0, 1.0)
    return np.asarray(np.where(neighbours_BL >= 0, closeness_BL**sharpness, 0.0), dtype=np.float64)


def weigh(evidence: Evidence, calibration: Calibration) -> tuple[Values, Values]:
    """Return the global and the local part of each candidate's score; the score is their sum."""
    prior_C = _weighed_prior(evidence.own_C, evidence.prior_C, calibration)
    return calibration.encoder * evidence.z_C, prior_C + calibration.neighbours * evidence.support_C


def split_local(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats,
    statistics: Statistics,
) -> LocalParts:
    """Split the local scores of stored archives into prior and support, without embeddings.

    Arguments are those of `gather`; entries of archives take the place of candidates, in any order. The sum
    of both parts is the local score that `score` returned for them, up to the rounding of its dtype.
    """
    calibration = statistics.calibration
    weights_BL = neighbour_weights(
        neighbours_BL,
        neighbour_similarities_BL,
        chance=statistics.chance_similarity,
        sharpness=calibration.sharpness,
    )
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
    candidates_O = owners(origin_offsets_C1)
    named_O = origins_O != OWN_CAPTION
    weights_O = np.zeros(len(origins_O))
    weights_O[named_O] = weights_BL[owners(offsets_B1)[candidates_O[named_O]], origins_O[named_O]]
    totals_O = np.bincount(candidates_O, weights_O, minlength=len(concepts_C))[candidates_O]
    shares_O = np.full(len(origins_O), np.nan)
    np.divide(weights_O, totals_O, out=shares_O, where=named_O & (totals_O > 0))
    return LocalParts(
        prior_C=_weighed_prior(own_C, prior_C, calibration),
        support_C=calibration.neighbours * support_C,
        shares_O=shares_O,
    )


def _weighed_prior(own_C: NDArray[np.bool_], prior_C: Values, calibration: Calibration) -> Values:
    return np.where(own_C, TRUST_IN_CAPTIONS, calibration.intercept + calibration.prior * prior_C)


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

    Arguments are those of `gather`. The scores of an image do not depend on the other images of the call.

    Returns:
        scores_C, global_C and local_C in the dtype of similarities_C: the log-odds and their two parts.
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


@compiled(nogil=True, error_model="numpy")
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
                position = origins_O[origin]
                if position == OWN_CAPTION:
                    own = 1
                else:
                    named += weights_BL[image, position]
            own_C[candidate] = own == 1
            # Half a sample in each direction keeps the prior finite when all or no other captions name it.
            count = max(concept_counts_V[concepts_C[candidate]] - own, 0)
            others = max(sample_count - 1, count)
            yes = (count + 0.5) / (others + 1.0)
            prior_C[candidate] = np.log(yes / (1.0 - yes))
            if total > 0.0:
                unnamed = max(total - named, 0.0)
                odds = (named + dataset * yes) / (unnamed + dataset * (1.0 - yes))
                support_C[candidate] = np.log(odds) - prior_C[candidate]
    return own_C, prior_C, support_C
