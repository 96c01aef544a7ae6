"""The two towers: a small convolutional detector bank for images, a bag of mixed tokens for texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM = 192
CONTEXT_LENGTH = 40


class Residual(nn.Module):
    """Two 3 × 3 convolutions around a skip connection; [N, C, H, W] to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Apply the block."""
        return functional.relu(x_NCHW + self.body(x_NCHW))


def _convolution(inputs: int, outputs: int, size: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ImageTower(nn.Module):
    """Pixels uint8 [N, S, S, 3] → unit embeddings float32 [N, DIM].

    An image holds several things at unrelated positions. Each channel of the last map detects something, a
    soft maximum over positions says whether it is anywhere, and a linear layer maps the responses to the
    space of texts. An average over the image would lose small things in the background.
    """

    def __init__(self, *, widths: tuple[int, int, int] = (40, 96, 192), detectors: int = 512) -> None:
        super().__init__()
        stem, middle, last = widths
        self.features = nn.Sequential(
            _convolution(3, stem, 6, stride=4),
            _convolution(stem, middle, 3, stride=2),
            Residual(middle),
            _convolution(middle, last, 3, stride=2),
            Residual(last),
        )
        self.detectors = nn.Sequential(nn.Conv2d(last, detectors, 1, bias=False), nn.BatchNorm2d(detectors))
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.project = nn.Linear(detectors, DIM)

    def forward(self, pixels_NSSC: Tensor) -> Tensor:
        """Embed images."""
        x_NCHW = (pixels_NSSC.permute(0, 3, 1, 2).float() - 127.5) / 64.0
        maps_NCP = self.detectors(self.features(x_NCHW)).flatten(2).float()
        responses_NC = torch.logsumexp(maps_NCP * self.sharpness, dim=2) / self.sharpness
        return functional.normalize(self.project(functional.relu(responses_NC)).float(), dim=1)


class TextTower(nn.Module):
    """Tokens int64 [N, CONTEXT_LENGTH], padded with 0 → unit embeddings float32 [N, DIM].

    A convolution mixes neighbouring tokens, so that “hot dog” is no dog; the embedding is a weighted mean
    over tokens, whose values and weights are learnt.
    """

    def __init__(self, tokens: int, *, width: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.meaning = nn.Linear(width, DIM)
        self.weight = nn.Linear(width, 1)
        nn.init.normal_(self.embed.weight, std=0.5)

    def forward(self, tokens_NT: Tensor) -> Tensor:
        """Embed texts."""
        present_NT1 = (tokens_NT > 0).unsqueeze(2)
        # Not self.embed(): the exporter would name its result “embedding”, which is the output's name.
        x_NTC = self.embed.weight[tokens_NT] * present_NT1
        x_NTC = x_NTC + functional.gelu(self.mix(x_NTC.transpose(1, 2)).transpose(1, 2))
        weight_NT1 = self.weight(x_NTC).masked_fill(~present_NT1, -1e4).softmax(dim=1)
        return functional.normalize((weight_NT1 * self.meaning(x_NTC)).sum(dim=1), dim=1)


class DualEncoder(nn.Module):
    """Both towers and the temperature of their similarities."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.image, self.text = ImageTower(), TextTower(tokens)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
