"""The model and its losses as one module, for distributed training and compilation."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.augmentation import normalised
from cocu_training.losses import caption_loss, collision_rate, concept_loss
from cocu_training.model import GroupViT
from cocu_training.model.blocks import Block


class Losses(NamedTuple):
    """Scalar losses of this rank's rows. collisions: the share of pairs (text, other image) with the same
    concept."""

    total: Tensor
    caption: Tensor
    concept: Tensor
    collisions: Tensor


class Objective(nn.Module):
    """Computes the losses of samples: the caption loss plus, for K > 0 texts, the concept loss."""

    def __init__(self, model: GroupViT, configuration: TrainingConfiguration) -> None:
        super().__init__()
        self.model = model
        self._masks = configuration.mask_shared
        self._mixed = configuration.precision == "bf16"
        # Without texts beside the caption nothing depends on this parameter.
        model.concept_temperature.requires_grad_(configuration.arm != "caption")
        if configuration.recompute:
            recompute_blocks(model)

    def forward(self, pixels_B3HW: Tensor, tokens_BJT: Tensor, ids_BK: Tensor) -> Losses:
        """pixels_B3HW: uint8. tokens_BJT: int64, the caption first. ids_BK: int64."""
        samples, texts = tokens_BJT.shape[:2]
        with torch.autocast(pixels_B3HW.device.type, torch.bfloat16, enabled=self._mixed):
            images_BE, texts_ME = self.model(normalised(pixels_B3HW), tokens_BJT.flatten(0, 1))
        # The model returns float32, because products of unit vectors are scaled by up to 100.
        texts_BJE = texts_ME.unflatten(0, (samples, texts))
        caption = caption_loss(images_BE, texts_BJE[:, 0], self.model.caption_scale)
        if texts == 1:
            nothing = torch.zeros_like(caption)
            return Losses(caption, caption, nothing, nothing)
        concept = concept_loss(
            images_BE,
            texts_BJE[:, 1:],
            self.model.concept_scale,
            ids_BK=ids_BK if self._masks else None,
        )
        return Losses(caption + concept, caption, concept, collision_rate(ids_BK))


def recompute_blocks(model: nn.Module) -> None:
    """Make every transformer block store only its input, and recompute its activations for the gradient."""
    for block in model.modules():
        if isinstance(block, Block):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
