"""The logits of one window, computed the plain way."""

from __future__ import annotations

import torch
from torch import Tensor

from cocu_training.evaluation.segmentation import SegmentedWindow, background_groups


def window_logits(segmented: SegmentedWindow, threshold: float | None = None) -> Tensor:
    """Return logits [C, H, W] of one window, or [1 + C, H, W] with the background first."""
    logits_CHW = segmented.scores_GC.T[:, segmented.groups_HW.long()]
    if threshold is None:
        return logits_CHW
    background_1G = background_groups(segmented.scores_GC, segmented.scores_GC.new_tensor([threshold]))
    background_1HW = background_1G[:, segmented.groups_HW.long()].to(logits_CHW.dtype)
    return torch.cat([background_1HW, logits_CHW])
