"""The metrics of a step, read one step later so that the device computes the next step in the meantime."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed

from cocu_training.distributed import world
from cocu_training.loop.objective import Losses
from cocu_training.model import GroupViT


class Values(NamedTuple):
    """Means over the ranks of one step.

    waited: seconds waited for samples. stops: above 0 if a rank was told to stop.
    """

    loss: float
    caption_loss: float
    concept_loss: float
    collision_rate: float
    gradient_norm: float
    caption_scale: float
    concept_scale: float
    waited: float
    stops: float


class StepMetrics:
    """The values of one step, being copied from the device.

    started: when the step was handed to the device, in seconds on the clock of the meter.
    """

    def __init__(
        self,
        step: int,
        losses: Losses,
        gradient_norm: Tensor,
        model: GroupViT,
        *,
        waited: float,
        stops: bool,
        started: float = 0.0,
    ) -> None:
        self.step = step
        self.started = started
        device = gradient_norm.device
        on_host = torch.tensor([waited, float(stops)], device=device)
        on_device = [*losses, gradient_norm, model.caption_scale, model.concept_scale]
        values_V = torch.cat([torch.stack(on_device).detach(), on_host])
        ranks = world()[1]
        if ranks > 1:
            distributed.all_reduce(values_V)
            values_V /= ranks
        self._values_V = values_V
        self._copied: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._values_V = torch.empty(len(values_V), pin_memory=True).copy_(values_V, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def read(self) -> Values:
        """Return the values; waits until the step is computed."""
        if self._copied is not None:
            self._copied.synchronize()
        return Values(*self._values_V.tolist())
