"""The learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cocu_training.configuration import TrainingConfiguration


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A linear warm-up, then a cosine over the steps of the whole run (GroupViT, section 4.1).

    The cosine is not shifted by the warm-up, so the rate drops a little at the end of the warm-up.
    """

    steps: int
    warm_up: int
    first: float
    peak: float
    last: float

    @classmethod
    def of(cls, configuration: TrainingConfiguration, *, steps: int) -> Schedule:
        """Return the schedule of a run of this number of steps, scaled by its global batch."""
        return cls(
            steps=steps,
            warm_up=round(configuration.warm_up * steps),
            first=configuration.first_learning_rate * configuration.scale,
            peak=configuration.learning_rate * configuration.scale,
            last=configuration.last_learning_rate * configuration.scale,
        )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up:
            return self.first + (self.peak - self.first) * step / self.warm_up
        cosine = math.cos(math.pi * min(step / self.steps, 1.0))
        return self.last + (self.peak - self.last) * (1 + cosine) / 2
