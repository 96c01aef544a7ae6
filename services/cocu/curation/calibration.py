"""Calibration: the weights of the score "evidence", fitted to the captions of the dataset itself.

The fit leaves one caption out at a time. From everything but an image's own caption it predicts which of the
concepts that the neighbours' captions name the own caption names too. It is a logistic regression with four
weights, so a few hundred images are enough, and it needs no labels. A caption leaves out much of what its
image shows. That lowers the intercept, but does not change the order of concepts, which the weights are for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ids, Mentions
from cocu.curation.evidence import Evidence, gather
from cocu.curation.expansion import expand
from cocu.curation.ranking import compare
from cocu.curation.statistics import Calibration, Statistics

__all__ = ["SAMPLE", "calibrate", "calibration_rows"]

Values = NDArray[np.float64]

SAMPLE = 4096
"""Images to calibrate on: with more, the weights change by less than matters."""

_SHARPNESS = (2.0, 1.0, 4.0, 8.0, 16.0)
"""The values tried; the default is first, so it stays where no other value fits the captions better."""

_PRECISION = np.array([0.1, 4.0, 4.0, 4.0])
"""Precision of the Gaussian prior around the default weights: a few images hardly change the defaults."""

_STEPS = 100
_SMALLEST_STEP = 1e-9


def calibration_rows(count: int, sample: int = SAMPLE) -> Ids:
    """Return the rows of a dataset of `count` samples to calibrate on: evenly spread, ascending, at most
    `sample`."""
    size = min(count, sample)
    return (np.arange(size, dtype=np.int64) * count) // max(size, 1)


def calibrate(
    statistics: Statistics,
    *,
    mentions: Mentions,
    anchors_S: Ids,
    neighbours_SL: Ids,
    neighbour_similarities_SL: Floats,
    images_SD: Floats,
    concepts_VD: Floats,
) -> Statistics:
    """Return the statistics with the weights that predict the captions of S images best.

    mentions describe all samples; anchors_S are the rows of the images to learn from (`calibration_rows`),
    images_SD their unit embeddings, neighbours_SL and neighbour_similarities_SL their neighbours without
    duplicates, as `curate` takes them. The result is deterministic. Without any candidate the default weights
    stay.

    Raises:
        ValueError: shapes do not fit.
    """
    candidates = expand(mentions, anchors_S, neighbours_SL, own_caption=True)
    comparisons = compare(
        candidates=candidates,
        mentions=mentions,
        neighbours_BL=neighbours_SL,
        images_BD=images_SD,
        concepts_VD=concepts_VD,
    )
    best, best_loss = Calibration(), np.inf
    for sharpness in _SHARPNESS:
        evidence = gather(
            offsets_B1=candidates.offsets_B1,
            concepts_C=candidates.concepts_C,
            similarities_C=comparisons.similarities_C,
            origin_offsets_C1=candidates.origin_offsets_C1,
            origins_O=candidates.origins_O,
            neighbours_BL=neighbours_SL,
            neighbour_similarities_BL=neighbour_similarities_SL,
            concepts_VD=concepts_VD,
            statistics=statistics,
            sharpness=sharpness,
        )
        # A concept that only the own caption names would not be a candidate without that caption.
        offered_C = np.diff(candidates.origin_offsets_C1) > evidence.own_C
        weights, loss = _fit(
            Evidence(
                own_C=evidence.own_C[offered_C],
                prior_C=evidence.prior_C[offered_C],
                support_C=evidence.support_C[offered_C],
                z_C=evidence.z_C[offered_C],
            )
        )
        if loss < best_loss - _SMALLEST_STEP:
            intercept, prior, neighbours, encoder = (float(weight) for weight in weights)
            best_loss = loss
            best = Calibration(
                sharpness=sharpness, intercept=intercept, prior=prior, neighbours=neighbours, encoder=encoder
            )
    return statistics.with_calibration(best)


def _fit(evidence: Evidence) -> tuple[Values, float]:
    """Fit the most probable weights of the logistic regression by Newton's method; return them and the loss.

    The prior is centred on the default weights. Evidence must not count against a concept: a weight that
    would be negative is set to 0.
    """
    columns_RF = np.stack(
        [np.ones_like(evidence.z_C), evidence.prior_C, evidence.support_C, evidence.z_C], axis=1
    )
    default = Calibration()
    centre_F = np.array([default.intercept, default.prior, default.neighbours, default.encoder])
    named_R = evidence.own_C.astype(np.float64)
    free_F = np.ones(len(centre_F), dtype=bool)
    while True:
        weights_F = _maximise(columns_RF, named_R, centre_F, free_F)
        negative_F = (weights_F < 0) & free_F
        negative_F[0] = False
        if not negative_F.any():
            return weights_F, _loss(columns_RF, named_R, weights_F, centre_F)
        free_F &= ~negative_F


def _maximise(columns_RF: Values, named_R: Values, centre_F: Values, free_F: NDArray[np.bool_]) -> Values:
    weights_F = np.where(free_F, centre_F, 0.0)
    loss = _loss(columns_RF, named_R, weights_F, centre_F)
    for _ in range(_STEPS):
        probability_R = _probability(columns_RF @ weights_F)
        gradient_F = columns_RF.T @ (named_R - probability_R) - _PRECISION * (weights_F - centre_F)
        curvature_R = probability_R * (1.0 - probability_R)
        hessian_FF = (columns_RF * curvature_R[:, None]).T @ columns_RF + np.diag(_PRECISION)
        step_F = np.zeros_like(weights_F)
        step_F[free_F] = np.linalg.solve(hessian_FF[np.ix_(free_F, free_F)], gradient_F[free_F])
        # Newton may overshoot far from the optimum; halving keeps the loss falling.
        while (
            _loss(columns_RF, named_R, weights_F + step_F, centre_F) > loss
            and np.abs(step_F).max() > _SMALLEST_STEP
        ):
            step_F *= 0.5
        if np.abs(step_F).max() <= _SMALLEST_STEP:
            break
        weights_F = weights_F + step_F
        loss = _loss(columns_RF, named_R, weights_F, centre_F)
    return weights_F


def _loss(columns_RF: Values, named_R: Values, weights_F: Values, centre_F: Values) -> float:
    logits_R = columns_RF @ weights_F
    likelihood = (named_R * logits_R - np.logaddexp(0.0, logits_R)).sum()
    return float(0.5 * (_PRECISION * (weights_F - centre_F) ** 2).sum() - likelihood)


def _probability(logits_R: Values) -> Values:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits_R)), dtype=np.float64)
