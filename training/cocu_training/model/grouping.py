"""The grouping block: every segment joins one group, by a straight-through Gumbel-softmax."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cocu_training.model.blocks import Attention, Perceptron

NORMALISER = 1.0
"""Added to the number of members. With a tiny value training diverges: the forward pass is one-hot, but
gradients flow through soft values, which a tiny value would multiply (issue 17 of GroupViT's repository)."""


class Grouped(NamedTuple):
    """groups_BGC: the new segments. assignment_BGN: the soft map without noise; its columns sum to 1."""

    groups_BGC: Tensor
    assignment_BGN: Tensor


class GroupingBlock(nn.Module):
    """Groups N segments by G group tokens (GroupViT, section 3.1)."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.groups_norm = nn.LayerNorm(width)
        self.segments_norm = nn.LayerNorm(width)
        # Over the token axis: this layer mixes groups, not channels.
        self.mixing = Perceptron(groups, width // 2)
        self.mixed_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron = Perceptron(width, 4 * width)
        self.attended_norm = nn.LayerNorm(width)
        self.assignment = Assignment(width)
        self.output_norm = nn.LayerNorm(width)
        self.output = Perceptron(width, 4 * width)

    def forward(self, segments_BNC: Tensor, groups_BGC: Tensor) -> Grouped:
        """Segments [B, N, C] and group tokens [B, G, C] → groups [B, G, C]."""
        segments_BNC = self.segments_norm(segments_BNC)
        mixed_BGC = self.mixing(self.groups_norm(groups_BGC).transpose(1, 2)).transpose(1, 2)
        queries_BGC = self.mixed_norm(mixed_BGC)
        queries_BGC = queries_BGC + self.attention(queries_BGC, segments_BNC)
        queries_BGC = queries_BGC + self.perceptron(self.perceptron_norm(queries_BGC))
        queries_BGC = self.attended_norm(queries_BGC)
        members_BGC, assignment_BGN = self.assignment(queries_BGC, segments_BNC)
        merged_BGC = members_BGC + queries_BGC
        return Grouped(merged_BGC + self.output(self.output_norm(merged_BGC)), assignment_BGN)


class Assignment(nn.Module):
    """Assigns each segment to a group, and sums the values of the members."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, groups_BGC: Tensor, segments_BNC: Tensor) -> Grouped:
        """Return the members' values by group [B, G, C], and the soft map [B, G, N]."""
        scale = groups_BGC.shape[-1] ** -0.5
        logits_BGN = self.query(groups_BGC) @ self.key(segments_BNC).transpose(1, 2) * scale
        hard_BGN, soft_BGN = assign(logits_BGN, noise=self.training)
        members_BGC = gather_members(hard_BGN.to(segments_BNC.dtype), self.value(segments_BNC))
        return Grouped(self.output(members_BGC), soft_BGN)


def assign(logits_BGN: Tensor, *, noise: bool) -> tuple[Tensor, Tensor]:
    """Return hard and soft assignments [B, G, N], float32, of segments (columns) to groups.

    Hard: one-hot over the groups in the forward pass, with the gradient of the softmax behind it (Jang et al.
    2017). Soft: the softmax over groups without noise. noise: add Gumbel noise before the choice.
    """
    # Gumbel noise of float16 reaches from -2.3 to 6.9 only, so all of this is float32.
    logits_BGN = logits_BGN.float()
    soft_BGN = logits_BGN.softmax(dim=1)
    chosen_BGN = soft_BGN
    if noise:
        exponential_BGN = (
            torch.empty_like(logits_BGN).exponential_().clamp_min(torch.finfo(torch.float32).tiny)
        )
        chosen_BGN = (logits_BGN - exponential_BGN.log()).softmax(dim=1)
    one_hot_BGN = torch.zeros_like(chosen_BGN).scatter_(1, chosen_BGN.argmax(dim=1, keepdim=True), 1.0)
    return one_hot_BGN + chosen_BGN - chosen_BGN.detach(), soft_BGN


def gather_members(assignment_BGN: Tensor, values_BNC: Tensor) -> Tensor:
    """Return the sum of the members' values divided by their number + 1, [B, G, C]."""
    return (assignment_BGN / (assignment_BGN.sum(dim=2, keepdim=True) + NORMALISER)) @ values_BNC
