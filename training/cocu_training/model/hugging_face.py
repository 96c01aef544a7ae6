"""Weights in the layout of Hugging Face's GroupViT, to evaluate published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cocu_training.model.groupvit import GroupViT
from cocu_training.model_configuration import GroupViTConfiguration

_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
_PERCEPTRON = {"hidden": "fc1", "output": "fc2"}


def load_hugging_face(model: GroupViT, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a Hugging Face GroupViT (its state dict) into a model of the same sizes.

    Both temperatures get the single one of the checkpoint. Raises KeyError naming what is missing,
    RuntimeError for sizes that differ.
    """
    names = hugging_face_names(model.configuration)
    missing = sorted(theirs for theirs in names.values() if theirs not in weights)
    if missing:
        raise KeyError(f"the checkpoint has no {missing[0]} ({len(missing)} of {len(names)} are missing)")
    state = {ours: weights[theirs] for ours, theirs in names.items()}
    # Position embeddings have a batch axis in some models and not in others.
    own = model.state_dict()
    state = {name: value.reshape(own[name].shape) for name, value in state.items()}
    for name, value in own.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros_like(value)
    model.load_state_dict(state)


def hugging_face_names(configuration: GroupViTConfiguration) -> dict[str, str]:
    """Return the mapping from our names of all weights to those of Hugging Face."""
    names = {
        "caption_temperature": "logit_scale",
        "concept_temperature": "logit_scale",
        "image_encoder.position": "vision_model.embeddings.position_embeddings",
        "text_encoder.tokens.weight": "text_model.embeddings.token_embedding.weight",
        "text_encoder.position": "text_model.embeddings.position_embedding.weight",
    }
    names |= _both("image_encoder.patches", "vision_model.embeddings.patch_embeddings.projection")
    names |= _both("image_encoder.patches_norm", "vision_model.embeddings.layernorm")
    names |= _both("image_encoder.norm", "vision_model.layernorm")
    names |= _both("text_encoder.norm", "text_model.final_layer_norm")
    for number in range(configuration.text_blocks):
        names |= _block(f"text_encoder.blocks.{number}", f"text_model.encoder.layers.{number}")
    for number, stage in enumerate(configuration.stages):
        ours, theirs = f"image_encoder.stages.{number}", f"vision_model.encoder.stages.{number}"
        for block in range(stage.blocks):
            names |= _block(f"{ours}.blocks.{block}", f"{theirs}.layers.{block}")
        if stage.groups:
            names[f"{ours}.tokens"] = f"{theirs}.group_token"
            names |= _grouping(f"{ours}.grouping", f"{theirs}.downsample")
        if stage.groups and number:
            names |= _both(f"{ours}.projection.norm", f"{theirs}.group_projector.0")
            names |= _parts(f"{ours}.projection.mixing", f"{theirs}.group_projector.1", _PERCEPTRON)
    for ours, theirs in (("image_projector", "visual_projection"), ("text_projector", "text_projection")):
        for layer in (0, 1, 3):
            names |= _both(f"{ours}.{layer}", f"{theirs}.{layer}")
        for statistic in ("running_mean", "running_var"):
            names[f"{ours}.1.{statistic}"] = f"{theirs}.1.{statistic}"
    return names


def _both(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}


def _parts(ours: str, theirs: str, parts: Mapping[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for own, other in parts.items():
        names |= _both(f"{ours}.{own}", f"{theirs}.{other}")
    return names


def _block(ours: str, theirs: str) -> dict[str, str]:
    names = _parts(f"{ours}.attention", f"{theirs}.self_attn", _ATTENTION)
    names |= _parts(f"{ours}.perceptron", f"{theirs}.mlp", _PERCEPTRON)
    names |= _both(f"{ours}.attention_norm", f"{theirs}.layer_norm1")
    return names | _both(f"{ours}.perceptron_norm", f"{theirs}.layer_norm2")


def _grouping(ours: str, theirs: str) -> dict[str, str]:
    norms = {
        "groups_norm": "norm_tokens",
        "segments_norm": "norm_x",
        "mixed_norm": "norm_post_tokens",
        "perceptron_norm": "pre_assign_attn.norm2",
        "attended_norm": "pre_assign_attn.norm_post",
        "output_norm": "norm_new_x",
    }
    names = _parts(ours, theirs, norms)
    names |= _parts(f"{ours}.mixing", f"{theirs}.mlp_inter", _PERCEPTRON)
    names |= _parts(f"{ours}.attention", f"{theirs}.pre_assign_attn.attn", _ATTENTION)
    names |= _parts(f"{ours}.perceptron", f"{theirs}.pre_assign_attn.mlp", _PERCEPTRON)
    names |= _parts(f"{ours}.assignment", f"{theirs}.assign", _ATTENTION | {"output": "proj"})
    return names | _parts(f"{ours}.output", f"{theirs}.mlp_channels", _PERCEPTRON)
