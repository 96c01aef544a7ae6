"""Which parameters are decayed."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from cocu_training.configuration import TrainingConfiguration
from cocu_training.loop.objective import Objective
from cocu_training.loop.optimiser import adamw
from cocu_training.model import GroupViT, GroupViTConfiguration


def decayed_names(configuration: TrainingConfiguration) -> tuple[set[str], set[str]]:
    model = GroupViT(GroupViTConfiguration.tiny())
    Objective(model, configuration)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimiser = adamw(model, configuration)
    decayed, others = (
        {names[id(parameter)] for parameter in group["params"]} for group in optimiser.param_groups
    )
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.05, 0.0]
    return decayed, others


def test_embeddings_and_temperatures_are_decayed_norms_and_biases_are_not() -> None:
    decayed, others = decayed_names(TrainingConfiguration.tiny())
    assert {
        "caption_temperature",
        "concept_temperature",
        "image_encoder.position",
        "image_encoder.stages.0.tokens",
        "text_encoder.tokens.weight",
        "text_encoder.position",
        "image_encoder.patches.weight",
        "image_projector.0.weight",
    } <= decayed
    assert {"image_encoder.norm.weight", "image_encoder.patches.bias", "image_projector.1.weight"} <= others
    assert all(name.endswith((".bias", ".weight")) for name in others)
    assert not any(name.endswith(".bias") for name in decayed)
    names = {name for name, _ in GroupViT(GroupViTConfiguration.tiny()).named_parameters()}
    assert decayed | others == names


def test_without_concepts_their_temperature_is_not_trained() -> None:
    decayed, others = decayed_names(TrainingConfiguration.tiny().with_(arm="caption"))
    assert "concept_temperature" not in decayed | others
    assert "caption_temperature" in decayed
