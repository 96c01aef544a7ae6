"""Batch norms whose statistics are those of the global batch, whatever the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cocu_training.gathering import gather, world


class GatheredBatchNorm(nn.BatchNorm1d):
    """A batch norm over the rows of all ranks, for devices that have no `SyncBatchNorm`.

    Each rank normalises every row and keeps its own: fine for the few rows of a projector on processors.
    """

    def forward(self, rows_BC: Tensor) -> Tensor:
        """Of the shape of `rows_BC`, of which all ranks have as many."""
        if not self.training:
            return super().forward(rows_BC)
        normed_MC = super().forward(gather(rows_BC))
        rank, ranks = world()
        return normed_MC.chunk(ranks)[rank]


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norms over all ranks; as it is where there is one rank."""
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
