"""Text-to-vision-guided ranking: how well each candidate fits the image, as a table of scorings by name.

Every scoring combines the same comparisons: the cosine of a candidate and the anchor image, and its cosines
with the images whose captions name it. A scoring is a pure function of keyword-only arrays (see
`Scoring`). To add one, write the function and add it to SCORINGS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from cocu.curation import evidence
from cocu.curation.archives import OWN_CAPTION, Candidates, Floats, Ids, Ints, Mentions
from cocu.curation.kernels import dot
from cocu.curation.numba_cache import compiled
from cocu.curation.statistics import Statistics

__all__ = ["SCORINGS", "Comparisons", "Scores", "Scoring", "compare", "rank"]

SMALLEST_MEAN = 1e-6
"""A mean or maximum of cosines must exceed this to be a divisor; otherwise the term is neutral."""


class Scores(NamedTuple):
    """The scores of C candidates, each the sum of its global and its local part."""

    scores_C: Floats
    global_C: Floats
    local_C: Floats


class Comparisons(NamedTuple):
    """Cosines of candidates with the anchor (C), and with the image of each origin (O)."""

    similarities_C: Floats
    origin_similarities_O: Floats


class Scoring(Protocol):
    """A way to score the candidates of B images.

    Candidates of image b are offsets_B1[b]:offsets_B1[b+1]; origins of candidate c are
    origin_offsets_C1[c]:origin_offsets_C1[c+1]. similarities_C and origin_similarities_O are the
    `Comparisons`; neighbour_similarities_BL are the cosines of the anchor image and its neighbours (None
    where the caller has none). An image's scores depend on nothing of the other images.
    """

    def __call__(
        self,
        *,
        offsets_B1: Ids,
        concepts_C: Ints,
        similarities_C: Floats,
        origin_offsets_C1: Ids,
        origins_O: Ints,
        origin_similarities_O: Floats,
        neighbours_BL: Ids,
        neighbour_similarities_BL: Floats | None,
        concepts_VD: Floats,
        statistics: Statistics | None,
    ) -> Scores:
        """Score every candidate."""


def rank(
    *,
    scoring: str,
    candidates: Candidates,
    mentions: Mentions,
    neighbours_BL: Ids,
    images_BD: Floats,
    concepts_VD: Floats,
    neighbour_similarities_BL: Floats | None = None,
    statistics: Statistics | None = None,
) -> Scores:
    """Score the candidates that `expand` found with the same `mentions` and `neighbours_BL`.

    images_BD and concepts_VD are unit rows; cosines are computed in images_BD's dtype, float32 or float64
    (narrower types are widened to float32). Every score is finite. Reference: sections 6 and 10.1.

    Raises ValueError for an unknown scoring, shapes that do not fit, or candidates that the mentions do not
    contain.
    """
    if scoring not in SCORINGS:
        raise ValueError(f"scoring must be one of {', '.join(SCORINGS)}, not {scoring!r}")
    comparisons = compare(
        candidates=candidates,
        mentions=mentions,
        neighbours_BL=neighbours_BL,
        images_BD=images_BD,
        concepts_VD=concepts_VD,
    )
    return SCORINGS[scoring](
        offsets_B1=candidates.offsets_B1,
        concepts_C=candidates.concepts_C,
        similarities_C=comparisons.similarities_C,
        origin_offsets_C1=candidates.origin_offsets_C1,
        origins_O=candidates.origins_O,
        origin_similarities_O=comparisons.origin_similarities_O,
        neighbours_BL=neighbours_BL,
        neighbour_similarities_BL=neighbour_similarities_BL,
        concepts_VD=concepts_VD,
        statistics=statistics,
    )


def compare(
    *,
    candidates: Candidates,
    mentions: Mentions,
    neighbours_BL: Ids,
    images_BD: Floats,
    concepts_VD: Floats,
) -> Comparisons:
    """Return the cosines that a scoring combines: computed for the anchors, read from `mentions` for origins.

    Raises ValueError when shapes do not fit or the mentions do not contain a candidate at one of its origins.
    """
    dtype = np.float64 if images_BD.dtype == np.float64 else np.float32
    if images_BD.ndim != 2 or len(images_BD) != len(candidates.offsets_B1) - 1:
        raise ValueError(
            f"images_BD {images_BD.shape} must have one row for each of the "
            f"{len(candidates.offsets_B1) - 1} images of the candidates"
        )
    if concepts_VD.ndim != 2 or concepts_VD.shape[1] != images_BD.shape[1]:
        raise ValueError(f"concepts_VD {concepts_VD.shape} and images_BD {images_BD.shape} must share D")
    if neighbours_BL.ndim != 2 or len(neighbours_BL) != len(images_BD):
        raise ValueError(f"neighbours_BL {neighbours_BL.shape} must have a row for each of the images")
    if candidates.origins_O.max(initial=OWN_CAPTION) >= neighbours_BL.shape[1]:
        raise ValueError(
            f"origin {candidates.origins_O.max()} is beyond the {neighbours_BL.shape[1]} neighbours given: "
            "rank with the neighbours that expand was given"
        )
    if candidates.concepts_C.max(initial=-1) >= len(concepts_VD):
        raise ValueError(
            f"concept {candidates.concepts_C.max()} is beyond the {len(concepts_VD)} rows of concepts_VD: "
            "candidates and embeddings must belong to the same vocabulary"
        )
    similarities_C, origin_similarities_O, missing = _compare(
        candidates.offsets_B1,
        candidates.concepts_C,
        candidates.origin_offsets_C1,
        candidates.origins_O,
        mentions.offsets_N1,
        mentions.concepts_M,
        np.ascontiguousarray(mentions.similarities_M, dtype),
        np.ascontiguousarray(neighbours_BL, np.int64),
        np.ascontiguousarray(images_BD, dtype),
        np.ascontiguousarray(concepts_VD, dtype),
    )
    if missing >= 0:
        raise ValueError(
            f"candidate {missing} is not a mention of its origins: "
            "rank with the mentions and neighbours that expand was given"
        )
    return Comparisons(similarities_C=similarities_C, origin_similarities_O=origin_similarities_O)


def score_set(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    origin_similarities_O: Floats,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats | None,
    concepts_VD: Floats,
    statistics: Statistics | None,
) -> Scores:
    """Compute the corrected score: reference images are the candidate's origins and the anchor, each once."""
    global_C, local_C = _ratios(
        offsets_B1, similarities_C, origin_offsets_C1, origins_O, origin_similarities_O, False, SMALLEST_MEAN
    )
    return Scores(scores_C=global_C + local_C, global_C=global_C, local_C=local_C)


def score_official(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    origin_similarities_O: Floats,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats | None,
    concepts_VD: Floats,
    statistics: Statistics | None,
) -> Scores:
    """Compute the official score: the anchor joins the reference images even if it is one of them (D2).

    The origins already contain the substrings of D1: see `official_origins`. Negative means divide as they do
    in the official script. Where that script would divide by zero, the term takes the neutral value of `set`.
    """
    global_C, local_C = _ratios(
        offsets_B1, similarities_C, origin_offsets_C1, origins_O, origin_similarities_O, True, 0.0
    )
    return Scores(scores_C=global_C + local_C, global_C=global_C, local_C=local_C)


def score_evidence(
    *,
    offsets_B1: Ids,
    concepts_C: Ints,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    origin_similarities_O: Floats,
    neighbours_BL: Ids,
    neighbour_similarities_BL: Floats | None,
    concepts_VD: Floats,
    statistics: Statistics | None,
) -> Scores:
    """Compute the log-odds that a concept belongs to the image; see `evidence`. Needs the statistics."""
    if statistics is None or neighbour_similarities_BL is None:
        raise ValueError(
            'scoring "evidence" compares with the whole dataset: pass its statistics '
            "and neighbour_similarities_BL"
        )
    return Scores(
        *evidence.score(
            offsets_B1=offsets_B1,
            concepts_C=concepts_C,
            similarities_C=similarities_C,
            origin_offsets_C1=origin_offsets_C1,
            origins_O=origins_O,
            neighbours_BL=neighbours_BL,
            neighbour_similarities_BL=neighbour_similarities_BL,
            concepts_VD=concepts_VD,
            statistics=statistics,
        )
    )


SCORINGS: Mapping[str, Scoring] = {
    "official": score_official,
    "set": score_set,
    "evidence": score_evidence,
}
"""The scorings by name."""


@compiled(nogil=True, error_model="numpy")
def _compare(
    offsets_B1: Ids,
    concepts_C: Ints,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    offsets_N1: Ids,
    concepts_M: Ints,
    similarities_M: Floats,
    neighbours_BL: Ids,
    images_BD: Floats,
    concepts_VD: Floats,
) -> tuple[Floats, Floats, int]:
    similarities_C = np.empty(len(concepts_C), images_BD.dtype)
    origin_similarities_O = np.empty(len(origins_O), images_BD.dtype)
    for image in range(len(offsets_B1) - 1):
        for candidate in range(offsets_B1[image], offsets_B1[image + 1]):
            concept = concepts_C[candidate]
            similarity = dot(concepts_VD[concept], images_BD[image])
            similarities_C[candidate] = similarity
            for origin in range(origin_offsets_C1[candidate], origin_offsets_C1[candidate + 1]):
                position = origins_O[origin]
                if position == OWN_CAPTION:
                    origin_similarities_O[origin] = similarity
                    continue
                row = neighbours_BL[image, position]
                end = offsets_N1[row + 1]
                mention = offsets_N1[row] + np.searchsorted(concepts_M[offsets_N1[row] : end], concept)
                if mention >= end or concepts_M[mention] != concept:
                    return similarities_C, origin_similarities_O, candidate
                origin_similarities_O[origin] = similarities_M[mention]
    return similarities_C, origin_similarities_O, -1


@compiled(nogil=True, error_model="numpy")
def _ratios(
    offsets_B1: Ids,
    similarities_C: Floats,
    origin_offsets_C1: Ids,
    origins_O: Ints,
    origin_similarities_O: Floats,
    official: bool,
    smallest_divisor: float,
) -> tuple[Floats, Floats]:
    """The global and the local term; `official` counts the anchor twice and divides by negative means."""
    global_C = np.empty_like(similarities_C)
    local_C = np.empty_like(similarities_C)
    for image in range(len(offsets_B1) - 1):
        largest = similarities_C.dtype.type(0)
        for candidate in range(offsets_B1[image], offsets_B1[image + 1]):
            total = similarities_C[candidate]
            count = 1
            largest = max(largest, total)
            for origin in range(origin_offsets_C1[candidate], origin_offsets_C1[candidate + 1]):
                if official or origins_O[origin] != OWN_CAPTION:
                    total += origin_similarities_O[origin]
                    largest = max(largest, origin_similarities_O[origin])
                    count += 1
            mean = total / count
            if count == 1 or mean == 0 or (mean <= smallest_divisor and not official):
                local_C[candidate] = 1
            else:
                local_C[candidate] = similarities_C[candidate] / mean
        for candidate in range(offsets_B1[image], offsets_B1[image + 1]):
            global_C[candidate] = similarities_C[candidate] / largest if largest > smallest_divisor else 0
    return global_C, local_C
