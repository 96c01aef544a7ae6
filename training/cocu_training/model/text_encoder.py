"""The text tower: a causal transformer as in CLIP, whose end-of-text state represents the text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cocu_training.model.blocks import Block, QuickGELU
from cocu_training.model_configuration import GroupViTConfiguration


class TextEncoder(nn.Module):
    """Maps tokens to one vector (Radford et al. 2021, section 2.4)."""

    def __init__(self, configuration: GroupViTConfiguration) -> None:
        super().__init__()
        width = configuration.text_width
        self.tokens = nn.Embedding(configuration.text_tokens, width)
        self.position = nn.Parameter(torch.empty(configuration.context_length, width))
        self.blocks = nn.ModuleList(
            Block(width, configuration.text_heads, activation=QuickGELU)
            for _ in range(configuration.text_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self._initialise(width, configuration.text_blocks)

    def forward(self, tokens_MT: Tensor) -> Tensor:
        """Encode token ids int64 [M, T] as [M, C]: the state at the highest id, which marks the end of the
        text.

        T may be less than the context length: tokens after the end do not change the result.
        """
        states_MTC = self.tokens(tokens_MT) + self.position[: tokens_MT.shape[1]]
        for block in self.blocks:
            states_MTC = block(states_MTC, causal=True)
        ends_M = tokens_MT.argmax(dim=1)
        return self.norm(states_MTC[torch.arange(len(tokens_MT), device=tokens_MT.device), ends_M])

    def _initialise(self, width: int, blocks: int) -> None:
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.position, std=0.01)
        for block in self.blocks:
            assert isinstance(block, Block)
            for linear in (block.attention.query, block.attention.key, block.attention.value):
                nn.init.normal_(linear.weight, std=width**-0.5)
            for linear in (block.attention.output, block.perceptron.output):
                nn.init.normal_(linear.weight, std=width**-0.5 * (2 * blocks) ** -0.5)
            nn.init.normal_(block.perceptron.hidden.weight, std=(2 * width) ** -0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
