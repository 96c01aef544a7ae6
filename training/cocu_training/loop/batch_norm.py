"""Batch norms over the global batch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cocu_training.distributed import all_gather_with_grad, world


class GatheredBatchNorm(nn.BatchNorm1d):
    """A batch norm over the rows of all ranks, for devices without `SyncBatchNorm`.

    Each rank normalises all rows and keeps its own: cheap enough for the few rows of a projector on CPUs.
    """

    def forward(self, rows_BC: Tensor) -> Tensor:
        """Normalise rows [B, C]; all ranks must have the same number of rows."""
        if not self.training:
            return super().forward(rows_BC)
        normed_MC = super().forward(all_gather_with_grad(rows_BC))
        rank, ranks = world()
        return normed_MC.chunk(ranks)[rank]


def sync_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with batch norms over all ranks, or unchanged if there is one rank."""
    if world()[1] == 1:
        return model
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm1d:
                gathered = GatheredBatchNorm(child.num_features, child.eps, child.momentum)
                gathered.load_state_dict(child.state_dict())
                setattr(parent, name, gathered)
    return model
