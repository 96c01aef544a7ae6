"""Evaluations of a model while it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cocu_training.data.texts import Texts
from cocu_training.evaluation import evaluate, find_protocol, open_dataset, write_evaluation
from cocu_training.model import GroupViT

EVALUATIONS = "evaluations"


@dataclass(frozen=True, kw_only=True)
class Evaluating:
    """What is evaluated every so many steps: a dataset in its layout, by a protocol.

    pictures: how many, spread over the dataset; None for all. previews: pictures that are drawn. folder: of
    the run; the last evaluation lies under evaluations/. precision: float32 or bfloat16.
    """

    protocol: str
    dataset: Path
    texts: Texts
    folder: Path
    pictures: int | None = None
    previews: int = 4
    precision: str = "float32"

    def __post_init__(self) -> None:
        # What is not there is said before training begins, not after a thousand steps.
        open_dataset(find_protocol(self.protocol).layout, self.dataset)

    def __call__(self, model: GroupViT) -> Mapping[str, float]:
        """mIoU and pixel accuracy, from 0 to 1. Raises EvaluationError."""
        protocol = find_protocol(self.protocol)
        evaluation = evaluate(
            model,
            self.texts,
            open_dataset(protocol.layout, self.dataset),
            protocol,
            device=_device_of(model),
            precision=self.precision,
            pictures=self.pictures,
            previews=self.previews,
        )
        write_evaluation(evaluation, self.folder / EVALUATIONS / self.protocol)
        return {"mean_iou": evaluation.mean_iou, "pixel_accuracy": evaluation.scores.pixel_accuracy}


def _device_of(model: GroupViT) -> torch.device:
    return model.caption_temperature.device
