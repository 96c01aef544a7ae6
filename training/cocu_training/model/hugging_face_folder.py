"""Loading of a folder with a saved Hugging Face GroupViT, to evaluate published weights.

Weights are read from model.safetensors or pytorch_model.bin, without executing code from either.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cocu_training.errors import CheckpointError
from cocu_training.model.groupvit import GroupViT
from cocu_training.model.hugging_face import load_hugging_face
from cocu_training.model_configuration import GroupViTConfiguration, ImageStage

CONFIGURATION = "config.json"
TOKENIZER = "tokenizer.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


def is_hugging_face(path: str | Path) -> bool:
    """Return whether this is a folder with a Hugging Face configuration."""
    return (Path(path) / CONFIGURATION).is_file()


def read_hugging_face(folder: str | Path) -> GroupViT:
    """Load the model, in evaluation mode, converted to float32.

    Raises CheckpointError for models other than GroupViT, unsupported sizes, and files that are absent or
    damaged.
    """
    folder = Path(folder)
    model = GroupViT(_configuration(folder))
    weights = _weights(folder)
    try:
        load_hugging_face(model, {name: tensor.float() for name, tensor in weights.items()})
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the weights in {folder} are not those of {CONFIGURATION}: {error}") from error
    return model.eval()


def _configuration(folder: Path) -> GroupViTConfiguration:
    file = folder / CONFIGURATION
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("model_type") != "groupvit":
        raise CheckpointError(f"{file} is not of a GroupViT: its model_type is not groupvit")
    image, text = _Sizes(file, document, "vision_config"), _Sizes(file, document, "text_config")
    whole = _Sizes(file, {"": document}, "")
    image.expect(hidden_act="gelu", layer_norm_eps=1e-5, assign_eps=1.0, assign_mlp_ratio=[0.5, 4])
    text.expect(hidden_act="quick_gelu", layer_norm_eps=1e-5)
    try:
        return GroupViTConfiguration(
            image_size=image.number("image_size", 224),
            patch_size=image.number("patch_size", 16),
            image_width=image.width("hidden_size", 384),
            image_heads=image.number("num_attention_heads", 6),
            stages=image.stages(),
            text_width=text.width("hidden_size", 256),
            text_heads=text.number("num_attention_heads", 4),
            text_blocks=text.number("num_hidden_layers", 12),
            text_tokens=text.number("vocab_size", 49_408),
            context_length=text.number("max_position_embeddings", 77),
            projector_width=whole.number("projection_intermediate_dim", 4_096),
            dim=whole.number("projection_dim", 256),
        )
    except ValueError as error:
        raise CheckpointError(f"{file} has sizes that this model does not: {error}") from error


class _Sizes:
    """Numbers of one part of a configuration, with the published model's values as defaults."""

    def __init__(self, file: Path, document: Mapping[str, Any], part: str) -> None:
        values = document.get(part) or {}
        if not isinstance(values, dict):
            raise CheckpointError(f"{file}: {part} is no object")
        self._values: dict[str, Any] = values
        self._where = f"{file}{f', {part}' if part else ''}"

    def expect(self, **fixed: object) -> None:
        """Raise CheckpointError where the configuration differs from values that are fixed in this model."""
        for name, value in fixed.items():
            if self._values.get(name, value) != value:
                raise CheckpointError(f"{self._where}: {name} is not {value}, as it is in this model")

    def number(self, name: str, published: int) -> int:
        value = self._values.get(name, published)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(f"{self._where}: {name} is not a whole number above 0")
        return value

    def width(self, name: str, published: int) -> int:
        """Return a width; raise CheckpointError unless hidden layers are four times as wide, as in this
        model."""
        width = self.number(name, published)
        if self.number("intermediate_size", 4 * published) != 4 * width:
            raise CheckpointError(f"{self._where}: intermediate_size is not four times {name}")
        return width

    def stages(self) -> tuple[ImageStage, ...]:
        blocks, tokens = self._numbers("depths", [6, 3, 3]), self._numbers("num_group_tokens", [64, 8, 0])
        groups = self._numbers("num_output_groups", [64, 8, 8])
        if not len(blocks) == len(tokens) == len(groups) or tokens[:-1] != groups[:-1]:
            raise CheckpointError(
                f"{self._where}: num_output_groups are not num_group_tokens, so that stages group into other "
                "numbers than they have tokens for; this model does not"
            )
        return tuple(
            ImageStage(blocks=depth, groups=count) for depth, count in zip(blocks, tokens, strict=True)
        )

    def _numbers(self, name: str, published: list[int]) -> list[int]:
        value = self._values.get(name, published)
        if not isinstance(value, list) or not all(
            isinstance(number, int) and number >= 0 for number in value
        ):
            raise CheckpointError(f"{self._where}: {name} is not a list of whole numbers")
        return value


def _weights(folder: Path) -> dict[str, Tensor]:
    safe, pickled = folder / SAFE, folder / PICKLED
    if safe.is_file():
        try:
            return load_file(safe)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{safe} is no file of weights, or damaged: {error}") from error
    if not pickled.is_file():
        raise CheckpointError(f"{folder} has neither {SAFE} nor {PICKLED}")
    try:
        weights = torch.load(pickled, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{pickled} is no file of weights, or damaged: {error}") from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{pickled} is no file of weights")
    return weights
