"""GroupViT: both towers, their projectors into one space, and two temperatures."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cocu_training.model.image_encoder import ImageEncoder
from cocu_training.model.text_encoder import TextEncoder
from cocu_training.model_configuration import GroupViTConfiguration

LARGEST_SCALE = 100.0


class Groups(NamedTuple):
    """The groups of an image.

    segments_BGE, pooled_BE: the groups and the whole image in the joint space, of unit norm.
    assignment_BPG: how much each patch belongs to each group, soft; rows sum to 1. grid: rows and columns of
    the P patches. assignments: the soft map [B, groups, segments] of each grouping.
    """

    segments_BGE: Tensor
    pooled_BE: Tensor
    assignment_BPG: Tensor
    grid: tuple[int, int]
    assignments: tuple[Tensor, ...]


class GroupViT(nn.Module):
    """The model of Xu et al., GroupViT: Semantic Segmentation Emerges from Text Supervision (CVPR 2022)."""

    def __init__(self, configuration: GroupViTConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        self.image_encoder = ImageEncoder(configuration)
        self.text_encoder = TextEncoder(configuration)
        self.image_projector = projector(configuration.image_width, configuration)
        self.text_projector = projector(configuration.text_width, configuration)
        self.caption_temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.concept_temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pixels_B3HW: Tensor, tokens_MT: Tensor) -> tuple[Tensor, Tensor]:
        """Return images [B, E] and texts [M, E] in the joint space, of unit norm.

        Captions and concepts must come in one call to share the batch statistics.
        """
        return self.embed_images(pixels_B3HW), self.embed_texts(tokens_MT)

    def embed_images(self, pixels_B3HW: Tensor) -> Tensor:
        """Embed normalised images, float32 [B, E] of unit norm: the mean of an image's segments,
        projected."""
        pooled_BC = self.image_encoder(pixels_B3HW).segments_BGC.mean(dim=1)
        return functional.normalize(self.image_projector(pooled_BC).float(), dim=-1)

    def embed_texts(self, tokens_MT: Tensor) -> Tensor:
        """Embed token ids int64 [M, T] as float32 [M, E] of unit norm."""
        return functional.normalize(self.project_texts(tokens_MT), dim=-1)

    def project_texts(self, tokens_MT: Tensor) -> Tensor:
        """Embed texts as `embed_texts` does, but without the norm, for means over templates."""
        return self.text_projector(self.text_encoder(tokens_MT)).float()

    def groups(self, pixels_B3HW: Tensor) -> Groups:
        """Return the groups of images; only in evaluation mode, because segments need running statistics."""
        encoded = self.image_encoder(pixels_B3HW)
        segments_BGC = encoded.segments_BGC
        projected_BGE = self.image_projector(segments_BGC.flatten(0, 1)).unflatten(0, segments_BGC.shape[:2])
        # The soft maps are multiplied: hard maps give worse masks.
        assignment_BPG = encoded.assignments[0].transpose(1, 2)
        for following_BGN in encoded.assignments[1:]:
            assignment_BPG = assignment_BPG @ following_BGN.transpose(1, 2)
        return Groups(
            functional.normalize(projected_BGE.float(), dim=-1),
            functional.normalize(self.image_projector(segments_BGC.mean(dim=1)).float(), dim=-1),
            assignment_BPG,
            encoded.grid,
            encoded.assignments,
        )

    @property
    def caption_scale(self) -> Tensor:
        """The factor of cosines with captions, at most 100."""
        return self.caption_temperature.exp().clamp(max=LARGEST_SCALE)

    @property
    def concept_scale(self) -> Tensor:
        """The factor of cosines with concepts, at most 100."""
        return self.concept_temperature.exp().clamp(max=LARGEST_SCALE)


def projector(width: int, configuration: GroupViTConfiguration) -> nn.Sequential:
    """Return a projector from [M, width] to [M, E] with a batch norm, which `SyncBatchNorm` may replace."""
    return nn.Sequential(
        nn.Linear(width, configuration.projector_width),
        nn.BatchNorm1d(configuration.projector_width),
        nn.ReLU(),
        nn.Linear(configuration.projector_width, configuration.dim),
    )
