"""A sweep over background thresholds: the network runs once for any number of thresholds.

    sweep = sweep_thresholds(model, "tokenizer.json", open_dataset("voc", folder, split="train"), protocol)
    sweep.best, sweep.evaluation.curve
    evaluate(model, …, protocol.with_threshold(sweep.best))     # on the images of evaluation

Choose thresholds on training images: a threshold chosen on the evaluated images flatters a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocu_training.data.texts import Texts
from cocu_training.errors import EvaluationError
from cocu_training.evaluation.datasets import SegmentationDataset
from cocu_training.evaluation.evaluate import Evaluation, evaluate
from cocu_training.evaluation.protocols import Protocol
from cocu_training.model import GroupViT

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """evaluation: at the protocol's own threshold, with the curve over all thresholds tried."""

    evaluation: Evaluation

    @property
    def best(self) -> float:
        """The threshold with the highest mIoU, the lowest of equally good ones."""
        return max(self.evaluation.curve, key=lambda point: (point[1], -point[0]))[0]


def sweep_thresholds(
    model: GroupViT,
    tokenizer: Texts | str | Path,
    dataset: SegmentationDataset,
    protocol: Protocol,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    **settings: Any,
) -> Sweep:
    """Evaluate at several thresholds; settings are those of `evaluate`.

    Raises EvaluationError when there is no background, and what `evaluate` raises.
    """
    if not protocol.names(dataset.names).has_background:
        raise EvaluationError(f"{protocol.name} has no background, so there is no threshold to try")
    return Sweep(evaluation=evaluate(model, tokenizer, dataset, protocol, thresholds=thresholds, **settings))
