"""Gathering of rows over all ranks with gradients: each rank's rows are negatives for the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; (0, 1) without torch.distributed."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def all_gather_with_grad(rows: Tensor) -> Tensor:
    """Return the rows [B, …] of every rank in rank order, [B · world size, …]; B is equal on all ranks.

    In the backward pass a rank's rows get the sum of the gradients of all ranks.
    """
    if world()[1] == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows.contiguous())
    return gathered


def first_row(count: int, device: torch.device) -> Tensor:
    """Return the index of this rank's first row among the rows of all ranks."""
    return torch.tensor(world()[0] * count, device=device)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        gathered = [torch.empty_like(rows) for _ in range(world()[1])]
        distributed.all_gather(gathered, rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        rank, size = world()
        return gradient.chunk(size)[rank]
