"""Weights in Hugging Face's layout, from a file, evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.training.evaluation.writing import write_pascal
from tests.training.model.test_groupvit import theirs

from cocu_training.data.texts import Texts
from cocu_training.evaluation import evaluate, find_protocol, open_dataset
from cocu_training.evaluation.segmentation import class_scores, group_maps
from cocu_training.evaluation.windows import prepare
from cocu_training.model import GroupViT, GroupViTConfiguration
from cocu_training.model.hugging_face import load_hugging_face


@pytest.fixture
def texts(repository: Path) -> Texts:
    return Texts(repository / "examples" / "encoders" / "scenes" / "tokenizer.json", 12)


def test_a_checkpoint_of_hugging_face_is_evaluated(texts: Texts, tmp_path: Path) -> None:
    torch.manual_seed(0)
    configuration = GroupViTConfiguration.tiny(text_tokens=texts.tokens, context_length=12)
    reference = theirs(configuration)
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    model = GroupViT(configuration)
    load_hugging_face(model, torch.load(tmp_path / "pytorch_model.bin", weights_only=True))
    write_pascal(tmp_path / "VOC2012", context=False)
    dataset = open_dataset("voc", tmp_path)
    # One window a picture, so that what the reference gives can be compared.
    protocol = replace(find_protocol("voc"), short_side=32, long_side=32, crop=32, stride=32, threshold=0.5)
    evaluation = evaluate(model, texts, dataset, protocol, thresholds=(0.1, 0.9))
    assert evaluation.pictures == 3
    assert 0 <= evaluation.mean_iou <= 1
    labels_HW = dataset[2].labels_HW
    assert labels_HW.shape == (32, 32)
    predicted_HW = predicted_by(reference, texts, dataset[2].picture_HW3, protocol.names().prompted)
    ours = evaluate(model, texts, replace(dataset, entries=dataset.entries[2:]), protocol)
    counts_C = torch.bincount(predicted_HW.flatten(), minlength=21)
    assert (counts_C > 0).sum() >= 2, "weights whose groups are all alike would compare nothing"
    # Everything is class 12, so what else was predicted is the union of each class.
    counts_C[12] = labels_HW.size
    # Another order of sums may move a pixel on a border.
    assert abs(counts_C.numpy() - ours.scores.unions_C).max() <= 3


@torch.no_grad()
def predicted_by(
    reference: torch.nn.Module, texts: Texts, picture_HW3: object, names: tuple[str, ...]
) -> torch.Tensor:
    """Labels from what Hugging Face's own model gives for one window, with a threshold of 0.5."""
    pixels_13HW = prepare(picture_HW3, (32, 32), torch.device("cpu"))[None]
    tokens_CT = texts([f"a photo of a {name}." for name in names])
    outputs = reference(
        input_ids=tokens_CT, pixel_values=pixels_13HW, output_segmentation=True, output_attentions=True
    )
    hidden_1GC = outputs.vision_model_output.last_hidden_state
    segments_GE = reference.visual_projection(hidden_1GC[0])
    first, second = outputs.vision_model_output.attentions
    scores_1GC = class_scores(
        torch.nn.functional.normalize(segments_GE, dim=-1)[None],
        outputs.image_embeds,
        outputs.text_embeds,
        scale=reference.logit_scale.exp(),
    )
    soft_1PG = first.transpose(1, 2) @ second.transpose(1, 2)
    groups_HW = group_maps(soft_1PG, (4, 4), (32, 32))[0].long()
    best_G, class_G = scores_1GC[0].max(dim=1)
    label_G = torch.where(best_G < min(0.5, best_G.max()), 0, class_G + 1)
    return label_G[groups_HW]
