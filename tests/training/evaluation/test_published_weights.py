"""Weights in Hugging Face's layout, from a file and from a folder, evaluated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.training.evaluation.layout_writers import rectangles, save_image, save_levels, write_pascal
from tests.training.model.test_groupvit import theirs

from cocu_training.data.texts import Texts
from cocu_training.evaluation import evaluate, find_protocol, open_dataset
from cocu_training.evaluation.datasets import SegmentationDataset
from cocu_training.evaluation.segmentation import class_scores, group_maps
from cocu_training.evaluation.sliding_window import prepare
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
    # One window an image, so that what the reference gives can be compared.
    protocol = replace(find_protocol("voc"), short_side=32, long_side=32, crop=32, stride=32, threshold=0.5)
    evaluation = evaluate(model, texts, dataset, protocol, thresholds=(0.1, 0.9))
    assert evaluation.images == 3
    assert 0 <= evaluation.mean_iou <= 1
    labels_HW = dataset[2].labels_HW
    assert labels_HW.shape == (32, 32)
    predicted_HW = predicted_by(reference, texts, dataset[2].image_HW3, protocol.names().prompted)
    ours = evaluate(model, texts, replace(dataset, entries=dataset.entries[2:]), protocol)
    counts_C = torch.bincount(predicted_HW.flatten(), minlength=21)
    assert (counts_C > 0).sum() >= 2, "weights whose groups are all alike would compare nothing"
    # Everything is class 12, so what else was predicted is the union of each class.
    counts_C[12] = labels_HW.size
    # Another order of sums may move a pixel on a border.
    assert abs(counts_C.numpy() - ours.scores.unions_C).max() <= 3


@pytest.mark.slow
def test_a_folder_that_transformers_saved_is_evaluated_by_the_command(
    texts: Texts, tmp_path: Path, repository: Path
) -> None:
    torch.manual_seed(7)
    configuration = GroupViTConfiguration.tiny(text_tokens=texts.tokens, context_length=12)
    reference = theirs(replace(configuration, image_size=SIDE, patch_size=32))
    reference.save_pretrained(tmp_path / "published")
    shutil.copy(repository / "examples" / "encoders" / "scenes" / "tokenizer.json", tmp_path / "published")
    names = ("dog", "cat", "red car", "tree", "apple", "moon", "boat", "zebra")
    dataset = write_squares(tmp_path / "own", names)
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "cocu_training.command_line", "evaluate", str(tmp_path / "published")),
            *("--protocol", "folder", "--dataset", str(tmp_path / "own"), "--device", "cpu"),
            *("--output", str(tmp_path / "evaluation"), "--previews", "2"),
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    truths_NHW = np.stack([image.labels_HW for image in dataset])
    predicted_NHW = np.stack(
        [predicted_by(reference, texts, image.image_HW3, names, threshold=None).numpy() for image in dataset]
    )
    assert len(np.unique(predicted_NHW)) >= 3, "weights whose groups are all alike would compare nothing"
    expected = mean_iou(truths_NHW, predicted_NHW)
    assert 0 < expected < 1
    printed = re.search(r"mIoU +([\d.]+) %", shown.stdout)
    assert printed is not None, shown.stdout
    # Another order of sums may move a pixel on a border.
    assert float(printed[1]) == pytest.approx(100 * expected, abs=0.02)
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert document["mean_iou"] == pytest.approx(expected, abs=1e-4)
    assert len(list((tmp_path / "evaluation" / "previews").glob("*.png"))) == 2


SIDE = 448
"""Of images that are one window of the protocol `folder` each."""


def write_squares(folder: Path, names: tuple[str, ...]) -> SegmentationDataset:
    for seed, values in enumerate(([0, 1, 255], [2, 3, 0], [1, 2])):
        save_image(folder / "pictures" / f"{seed}.png", (SIDE, SIDE), seed)
        save_levels(folder / "masks" / f"{seed}.png", rectangles(values, (SIDE, SIDE)))
    (folder / "classes.json").write_text(json.dumps({"names": names, "version": "squares-1"}))
    return open_dataset("folder", folder)


def mean_iou(truths_NHW: NDArray[np.int64], predicted_NHW: NDArray[np.int64]) -> float:
    """By its definition: over all pixels that count, of the classes that are there or were predicted."""
    counts_NHW = truths_NHW >= 0
    shares = []
    for label in np.unique(np.concatenate([truths_NHW[counts_NHW], predicted_NHW[counts_NHW]])):
        true_NHW, said_NHW = (truths_NHW == label) & counts_NHW, (predicted_NHW == label) & counts_NHW
        shares.append((true_NHW & said_NHW).sum() / (true_NHW | said_NHW).sum())
    return float(np.mean(shares))


@torch.no_grad()
def predicted_by(
    reference: torch.nn.Module,
    texts: Texts,
    image_HW3: object,
    names: tuple[str, ...],
    *,
    threshold: float | None = 0.5,
) -> torch.Tensor:
    """Labels from what Hugging Face's own model gives for one window; None where there is no background."""
    side, patch = reference.config.vision_config.image_size, reference.config.vision_config.patch_size
    pixels_13HW = prepare(image_HW3, (side, side), torch.device("cpu"))[None]
    tokens_CT = texts([f"a photo of a {name}." for name in names])
    outputs = reference(
        input_ids=tokens_CT,
        pixel_values=pixels_13HW,
        output_segmentation=True,
        output_attentions=True,
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
    groups_HW = group_maps(soft_1PG, (side // patch, side // patch), (side, side))[0].long()
    best_G, class_G = scores_1GC[0].max(dim=1)
    if threshold is None:
        return class_G[groups_HW]
    label_G = torch.where(best_G < min(threshold, best_G.max()), 0, class_G + 1)
    return label_G[groups_HW]
