"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a model's weights over steps; buffers are those of the last step.

    decay: the share of the average that remains at every step. It rises from 0.1 to `decay` as
    (1 + n) / (10 + n) after n steps, so that the random initial weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the weights after a step."""
        self._steps += 1
        weight = 1.0 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        trained = {name for name, _ in model.named_parameters()}
        for name, tensor in model.state_dict().items():
            if name in trained:
                self._weights[name].lerp_(tensor, weight)
            else:
                self._weights[name].copy_(tensor)

    def state(self) -> dict[str, object]:
        """Return the state that a checkpoint stores."""
        return {"steps": self._steps, "weights": self._weights}

    def load(self, state: Mapping[str, object]) -> None:
        """Restore the state that a checkpoint stored."""
        steps, weights = state["steps"], state["weights"]
        assert isinstance(steps, int)
        assert isinstance(weights, dict)
        self._steps = steps
        for name, tensor in self._weights.items():
            tensor.copy_(weights[name])

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averaged weights by name, as in the model's state."""
        return self._weights

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights while the context lasts."""
        trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self._weights)
        try:
            yield
        finally:
            model.load_state_dict(trained)
