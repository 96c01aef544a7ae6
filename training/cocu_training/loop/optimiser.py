"""AdamW with the published exclusions from weight decay."""

from __future__ import annotations

import torch
from torch import nn

from cocu_training.configuration import TrainingConfiguration

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adamw(model: nn.Module, configuration: TrainingConfiguration) -> torch.optim.AdamW:
    """Return the optimiser of the trained parameters; the trainer sets the rate before every step.

    One-dimensional parameters (norms and biases) have no weight decay. Position, group and token embeddings
    have it, and so have the temperatures, which are scalars (as in the official GroupViT).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for parameter in trained if parameter.dim() != 1],
            "weight_decay": configuration.weight_decay,
        },
        {"params": [parameter for parameter in trained if parameter.dim() == 1], "weight_decay": 0.0},
    ]
    fused = all(parameter.is_cuda for parameter in trained)
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=fused or None)
