"""Zero-shot segmentation of windows: the group of each pixel, and the class of each group (GroupViT, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cocu_training.data.texts import Texts
from cocu_training.errors import EvaluationError
from cocu_training.model import GroupViT

TEXTS_AT_ONCE = 256


class SegmentedWindow(NamedTuple):
    """The segmentation of a window, before any threshold.

    scores_GC: float32, of each class for each group. groups_HW: int16, the group of each pixel.
    """

    scores_GC: Tensor
    groups_HW: Tensor


def embed_classes(
    model: GroupViT, texts: Texts, names: Sequence[str], templates: Sequence[str], *, device: torch.device
) -> Tensor:
    """Embed class names, float32 [C, E] of unit norm: the mean of projected texts over templates,
    normalised."""
    total_CE: Tensor | None = None
    for template in templates:
        prompts = [template.replace("{}", name) for name in names]
        projected_CE = torch.cat(
            [
                model.project_texts(texts(prompts[start : start + TEXTS_AT_ONCE]).to(device))
                for start in range(0, len(prompts), TEXTS_AT_ONCE)
            ]
        ).float()
        total_CE = projected_CE if total_CE is None else total_CE + projected_CE
    if total_CE is None:
        raise EvaluationError("there must be at least one template")
    return functional.normalize(total_CE, dim=-1)


def segment(
    model: GroupViT, windows_B3HW: Tensor, classes_CE: Tensor, *, most_classes: int = 5
) -> list[SegmentedWindow]:
    """Segment normalised windows of one size, independently of each other.

    Raises EvaluationError for windows smaller than a patch, and for weights that give numbers that are not
    finite.
    """
    patch = model.configuration.patch_size
    if min(windows_B3HW.shape[2:]) < patch:
        size = " × ".join(map(str, windows_B3HW.shape[2:]))
        raise EvaluationError(
            f"an image that is {size} once resized is smaller than a patch of {patch} pixels"
        )
    groups = model.groups(windows_B3HW)
    scores_BGC = class_scores(
        groups.segments_BGE,
        groups.pooled_BE,
        classes_CE,
        scale=model.caption_scale,
        most_classes=most_classes,
    )
    if not torch.isfinite(scores_BGC).all():
        raise EvaluationError("the model's scores are not finite numbers: its weights are broken")
    groups_BHW = group_maps(
        groups.assignment_BPG, groups.grid, (windows_B3HW.shape[2], windows_B3HW.shape[3])
    )
    return [SegmentedWindow(*window) for window in zip(scores_BGC, groups_BHW, strict=True)]


def class_scores(
    segments_BGE: Tensor,
    pooled_BE: Tensor,
    classes_CE: Tensor,
    *,
    scale: Tensor | float,
    most_classes: int = 5,
) -> Tensor:
    """Score each class for each group, [B, G, C] in 0 … 1: the product of two softmaxes over classes.

    All vectors have unit norm. One softmax is over all classes, the other over the `most_classes` most
    similar to the whole window; all other classes score 0.
    """
    logits_BGC = scale * (segments_BGE @ classes_CE.T)
    likely_BT = (pooled_BE @ classes_CE.T).topk(min(most_classes, len(classes_CE)), dim=-1).indices
    excluded_BC = torch.ones(logits_BGC.shape[::2], dtype=torch.bool, device=logits_BGC.device)
    excluded_BC.scatter_(1, likely_BT, False)
    restricted_BGC = logits_BGC.masked_fill(excluded_BC[:, None], -torch.inf)
    return logits_BGC.softmax(dim=-1) * restricted_BGC.softmax(dim=-1)


def group_maps(assignment_BPG: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Resize soft maps on the grid of patches; return the strongest group of each pixel, int16 [B, H, W]."""
    maps_BGHW = assignment_BPG.float().transpose(1, 2).reshape(len(assignment_BPG), -1, *grid)
    resized_BGHW = functional.interpolate(maps_BGHW, size, mode="bilinear", align_corners=False)
    return resized_BGHW.argmax(dim=1).to(torch.int16)


def background_groups(scores_GC: Tensor, thresholds_T: Tensor) -> Tensor:
    """Return which groups are background at each threshold, bool [T, G].

    A group is background if its best score is below the threshold. If all scores are below the threshold, the
    best score of all groups replaces the threshold, so at least one group is never background, even if it
    owns no pixel.
    """
    best_G = scores_GC.max(dim=1).values
    return best_G[None, :] < thresholds_T[:, None].clamp(max=best_G.max())
