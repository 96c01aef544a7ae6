"""A model that sees colours: what it must score is known, whatever windows and labels lie in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cocu_training.data.texts import Texts
from cocu_training.evaluation.datasets import SegmentationDataset
from cocu_training.evaluation.sliding_window import DEVIATION, MEAN
from cocu_training.model import GroupViT, GroupViTConfiguration
from cocu_training.model.groupvit import Groups

UNCOUNTED = (255, 255, 255)


def paint(labels_HW: NDArray[np.int64]) -> Image.Image:
    """The colour of each label, white where none counts."""
    colours_C3 = palette(512).numpy().astype(np.uint8)
    painted_HW3 = np.where(labels_HW[..., None] < 0, np.uint8(255), colours_C3[np.maximum(labels_HW, 0)])
    return Image.fromarray(painted_HW3)


def palette(labels: int) -> torch.Tensor:
    numbers = torch.arange(labels)
    return torch.stack([(17 + 40 * numbers) % 241, (90 + 77 * numbers) % 239, (160 + 101 * numbers) % 233], 1)


def paint_dataset(dataset: SegmentationDataset) -> None:
    """Replace all images by their labels' colours; where labels are finer, by every other one's."""
    for number, entry in enumerate(dataset.entries):
        _, image_HW3, labels_HW = dataset[number]
        step = labels_HW.shape[0] // image_HW3.shape[0]
        # PNG whatever the name says, as JPEG would mix colours.
        paint(labels_HW[::step, ::step]).save(Path(entry.image_name), format="PNG")


class ColourReader(GroupViT):
    """One group for each colour of the palette that is in a window, named by the text of that label.

    first: the label of the first text; 1 where label 0 is a background, which resembles no text.
    """

    def __init__(self, texts: Texts, prompts: list[str], *, first: int) -> None:
        super().__init__(
            GroupViTConfiguration.tiny(text_tokens=texts.tokens, context_length=texts.context_length)
        )
        self.first = first
        self.known_CT = texts(prompts)
        assert len(self.known_CT.unique(dim=0)) == len(prompts), "prompts are cut to the same tokens"

    def project_texts(self, tokens_MT: torch.Tensor) -> torch.Tensor:
        matches_MC = (tokens_MT[:, None] == self.known_CT).all(dim=2)
        assert (matches_MC.sum(dim=1) == 1).all(), "a text that was not expected"
        return matches_MC.float() * 3

    def groups(self, pixels_B3HW: torch.Tensor) -> Groups:
        scale, shift = torch.tensor(DEVIATION)[:, None, None], torch.tensor(MEAN)[:, None, None]
        pixels_B3HW = (pixels_B3HW * scale + shift) * 255
        classes = len(self.known_CT)
        colours_L3 = palette(self.first + classes).float()
        distance_BLP = torch.cdist(colours_L3[None], pixels_B3HW.flatten(2).transpose(1, 2))
        assignment_BPL = torch.nn.functional.one_hot(distance_BLP.argmin(dim=1), len(colours_L3)).float()
        segments_LE = torch.eye(classes)
        if self.first:
            segments_LE = torch.cat([torch.full((1, classes), classes**-0.5), segments_LE])
        shares_BL = assignment_BPL.mean(dim=1)
        pooled_BE = torch.nn.functional.normalize(shares_BL @ segments_LE, dim=-1)
        segments_BLE = segments_LE.expand(len(pixels_B3HW), -1, -1)
        return Groups(segments_BLE, pooled_BE, assignment_BPL, tuple(pixels_B3HW.shape[2:]), ())
