"""Transformer blocks of both towers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention with biases; queries [B, Q, C] attend to keys [B, N, C], which are also the
    values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries_BQC: Tensor, keys_BNC: Tensor, *, causal: bool = False) -> Tensor:
        """Return [B, Q, C]. causal: position q attends only to keys 0..q."""
        mixed_BHQd = functional.scaled_dot_product_attention(
            self._split(self.query(queries_BQC)),
            self._split(self.key(keys_BNC)),
            self._split(self.value(keys_BNC)),
            is_causal=causal,
        )
        return self.output(mixed_BHQd.transpose(1, 2).flatten(2))

    def _split(self, tokens_BNC: Tensor) -> Tensor:
        return tokens_BNC.unflatten(2, (self.heads, -1)).transpose(1, 2)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the activation of CLIP's text tower."""

    def forward(self, values: Tensor) -> Tensor:
        """Of the shape of `values`."""
        return values * torch.sigmoid(1.702 * values)


class Perceptron(nn.Module):
    """Two linear layers with an activation between, over the last axis."""

    def __init__(
        self, width: int, hidden: int, output: int | None = None, *, activation: type[nn.Module] = nn.GELU
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.activation = activation()
        self.output = nn.Linear(hidden, width if output is None else output)

    def forward(self, values: Tensor) -> Tensor:
        """[…, width] → […, output]."""
        return self.output(self.activation(self.hidden(values)))


class DropPath(nn.Module):
    """In training, drops the residual branch of a sample with probability `rate`, and scales up the
    others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch_BNC: Tensor) -> Tensor:
        """Of the shape of `branch_BNC`."""
        if not self.training or self.rate == 0:
            return branch_BNC
        kept = 1.0 - self.rate
        mask_B11 = torch.empty(len(branch_BNC), 1, 1, device=branch_BNC.device).bernoulli_(kept)
        return branch_BNC * (mask_B11 / kept).to(branch_BNC.dtype)


class Block(nn.Module):
    """A pre-norm transformer block (Vaswani et al. 2017; Dosovitskiy et al. 2021)."""

    def __init__(
        self, width: int, heads: int, *, drop_path: float = 0.0, activation: type[nn.Module] = nn.GELU
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron = Perceptron(width, 4 * width, activation=activation)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens_BNC: Tensor, *, causal: bool = False) -> Tensor:
        """[B, N, C]."""
        normed_BNC = self.attention_norm(tokens_BNC)
        tokens_BNC = tokens_BNC + self.drop_path(self.attention(normed_BNC, normed_BNC, causal=causal))
        return tokens_BNC + self.drop_path(self.perceptron(self.perceptron_norm(tokens_BNC)))
