"""Periodic evaluation of a model during training."""

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
class PeriodicEvaluation:
    """Evaluates a model on a dataset in its layout, by a protocol.

    images: the number of images, spread over the dataset; None for all. previews: the number of images to
    draw. folder: of the run; the last evaluation is stored under evaluations/. precision: float32 or
    bfloat16.
    """

    protocol: str
    dataset: Path
    texts: Texts
    folder: Path
    images: int | None = None
    previews: int = 4
    precision: str = "float32"

    def __post_init__(self) -> None:
        # Report a missing dataset before training begins, not after a thousand steps.
        open_dataset(find_protocol(self.protocol).layout, self.dataset)

    def __call__(self, model: GroupViT) -> Mapping[str, float]:
        """Return mIoU and pixel accuracy, in 0..1. Raises EvaluationError."""
        protocol = find_protocol(self.protocol)
        evaluation = evaluate(
            model,
            self.texts,
            open_dataset(protocol.layout, self.dataset),
            protocol,
            device=_device_of(model),
            precision=self.precision,
            images=self.images,
            previews=self.previews,
        )
        write_evaluation(evaluation, self.folder / EVALUATIONS / self.protocol)
        return {"mean_iou": evaluation.mean_iou, "pixel_accuracy": evaluation.scores.pixel_accuracy}


def _device_of(model: GroupViT) -> torch.device:
    return model.caption_temperature.device
