"""The image tower: patches, stages of blocks, and grouping between them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cocu_training.model.blocks import Block, Perceptron
from cocu_training.model.grouping import Grouped, GroupingBlock
from cocu_training.model_configuration import GroupViTConfiguration


class Encoded(NamedTuple):
    """segments_BGC: the last stage's tokens. assignments: a soft map [B, groups, segments] for each grouping.

    grid: rows and columns of patches.
    """

    segments_BGC: Tensor
    assignments: tuple[Tensor, ...]
    grid: tuple[int, int]


class ImageEncoder(nn.Module):
    """Maps images to a few segments (GroupViT, section 3.1)."""

    def __init__(self, configuration: GroupViTConfiguration) -> None:
        super().__init__()
        width = configuration.image_width
        self.side = configuration.grid
        self.patches = nn.Conv2d(3, width, configuration.patch_size, stride=configuration.patch_size)
        self.patches_norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.zeros(1, self.side**2, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        blocks = sum(stage.blocks for stage in configuration.stages)
        rates = iter(torch.linspace(0, configuration.drop_path, blocks).tolist())
        before = 0
        stages = []
        for stage in configuration.stages:
            stage_rates = [next(rates) for _ in range(stage.blocks)]
            stages.append(Stage(configuration, rates=stage_rates, groups=stage.groups, before=before))
            before = stage.groups
        self.stages = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(width)
        self.apply(_initialise)

    def forward(self, pixels_B3HW: Tensor) -> Encoded:
        """Encode normalised images of any size; pixels that do not fill a patch are ignored."""
        patches_BCHW = self.patches(pixels_B3HW)
        rows, columns = patches_BCHW.shape[2:]
        tokens_BNC = self.patches_norm(patches_BCHW.flatten(2).transpose(1, 2)) + self._positions(
            rows, columns
        )
        groups_BGC: Tensor | None = None
        assignments = []
        for stage in self.stages:
            tokens_BNC, groups_BGC, assignment_BGN = stage(tokens_BNC, groups_BGC)
            if assignment_BGN is not None:
                assignments.append(assignment_BGN)
        return Encoded(self.norm(tokens_BNC), tuple(assignments), (rows, columns))

    def _positions(self, rows: int, columns: int) -> Tensor:
        if rows == columns == self.side:
            return self.position
        square_1CSS = self.position.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        resized_1CHW = functional.interpolate(
            square_1CSS, (rows, columns), mode="bicubic", align_corners=False
        )
        return resized_1CHW.flatten(2).transpose(1, 2)


class Stage(nn.Module):
    """Blocks over segments and group tokens, then the grouping of the segments by the tokens."""

    def __init__(
        self, configuration: GroupViTConfiguration, *, rates: list[float], groups: int, before: int
    ) -> None:
        super().__init__()
        width, heads = configuration.image_width, configuration.image_heads
        self.blocks = nn.ModuleList(Block(width, heads, drop_path=rate) for rate in rates)
        self.groups = groups
        if not groups:
            return
        self.tokens = nn.Parameter(torch.zeros(1, groups, width))
        self.projection: TokenProjection | None = None
        if before:
            # Tokens start at zero: at first they equal the projected groups of the stage before.
            self.projection = TokenProjection(width, before, groups)
        else:
            nn.init.trunc_normal_(self.tokens, std=0.02)
        self.grouping = GroupingBlock(width, heads, groups)

    def forward(
        self, segments_BNC: Tensor, before_BGC: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the segments or their groups, the group tokens, and the soft assignment."""
        if not self.groups:
            for block in self.blocks:
                segments_BNC = block(segments_BNC)
            return segments_BNC, None, None
        groups_BGC = self.tokens.expand(len(segments_BNC), -1, -1)
        if self.projection is not None:
            groups_BGC = groups_BGC + self.projection(before_BGC)
        count = segments_BNC.shape[1]
        tokens_BMC = torch.cat([segments_BNC, groups_BGC.to(segments_BNC.dtype)], dim=1)
        for block in self.blocks:
            tokens_BMC = block(tokens_BMC)
        segments_BNC, groups_BGC = tokens_BMC[:, :count], tokens_BMC[:, count:]
        grouped: Grouped = self.grouping(segments_BNC, groups_BGC)
        return grouped.groups_BGC, groups_BGC, grouped.assignment_BGN


class TokenProjection(nn.Module):
    """Maps the group tokens of one stage to those of the next, over the token axis."""

    def __init__(self, width: int, before: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mixing = Perceptron(before, width // 2, groups)

    def forward(self, before_BFC: Tensor) -> Tensor:
        """[B, F, C] → [B, G, C]."""
        return self.mixing(self.norm(before_BFC).transpose(1, 2)).transpose(1, 2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
