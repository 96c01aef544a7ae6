"""AdamW with the published exclusions from weight decay."""

from __future__ import annotations

import torch
from torch import nn

from cocu_training.configuration import TrainingConfiguration

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def adamw(model: nn.Module, configuration: TrainingConfiguration) -> torch.optim.AdamW:
    """The optimiser of the parameters that are trained; the rate is set before every step.

    One-dimensional parameters (norms and biases) are not decayed. Position, group and token embeddings are,
    and so are the temperatures, which have no dimension (GroupViT as released).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.dim() != 1], "weight_decay": configuration.weight_decay},
        {"params": [each for each in trained if each.dim() == 1], "weight_decay": 0.0},
    ]
    fused = all(parameter.is_cuda for parameter in trained)
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=fused or None)
