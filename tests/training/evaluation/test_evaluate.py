"""Whole evaluations: every protocol end to end, thresholds, images of other sizes, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image
from tests.training.evaluation.colour_reader import ColourReader, paint_dataset
from tests.training.evaluation.layout_writers import LAYOUT_WRITERS, write_folder, write_imagenet_s

import cocu_scenes
from cocu_training.data.texts import Texts
from cocu_training.evaluation import (
    PROTOCOLS,
    DatasetError,
    EvaluationError,
    Protocol,
    SegmentationDataset,
    evaluate,
    find_protocol,
    open_dataset,
    sweep_thresholds,
    weights_hash,
)
from cocu_training.evaluation.evaluate import as_protocol, resize_nearest
from cocu_training.model import GroupViT, GroupViTConfiguration

SMALL = {"short_side": 64, "long_side": 160, "crop": 48, "stride": 24}
NAMES = ["background", "dog", "cat", "red car"]


@pytest.fixture(scope="session")
def tokenizer(repository: Path) -> Path:
    return repository / "examples" / "encoders" / "scenes" / "tokenizer.json"


@pytest.fixture
def model(tokenizer: Path) -> GroupViT:
    torch.manual_seed(4)
    configuration = GroupViTConfiguration.tiny(text_tokens=Texts(tokenizer, 12).tokens, context_length=12)
    model = GroupViT(configuration)
    with torch.no_grad():
        # Weights as at the start make all segments alike.
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "position" not in name:
                parameter.copy_(torch.randn_like(parameter) * 1.5 * parameter.shape[-1] ** -0.5)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> SegmentationDataset:
    write_folder(tmp_path, names=NAMES)
    return open_dataset("folder", tmp_path)


OWN = replace(find_protocol("folder"), **SMALL, threshold=0.3)


def reader_of(
    tokenizer: Path, dataset: SegmentationDataset, protocol: Protocol
) -> tuple[ColourReader, Texts]:
    texts = Texts(tokenizer, 24)
    names = protocol.names(dataset.names)
    # Label 0 has a colour, whether it is evaluated or left out.
    first = 1 if names.has_background or protocol.without_background else 0
    prompts = [protocol.templates[0].replace("{}", name) for name in names.prompted]
    return ColourReader(texts, prompts, first=first), texts


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "scenes"])
def test_a_model_that_sees_the_labels_scores_all_of_them(name: str, tmp_path: Path, tokenizer: Path) -> None:
    protocol = replace(find_protocol(name), **SMALL, templates=("a photo of a {}.",))
    if name == "imagenet_s_50":
        write_imagenet_s(tmp_path, {"first": [0, 50, 1000], "second": [33, 12], "third": [1]})
    else:
        LAYOUT_WRITERS[protocol.layout](tmp_path)
    dataset = open_dataset(protocol.layout, tmp_path)
    paint_dataset(dataset)
    reader, texts = reader_of(tokenizer, dataset, protocol)
    evaluation = evaluate(reader, texts, dataset, protocol)
    true = evaluation.scores.truths_C > 0
    assert true.sum() >= 3
    # Colours mix where labels meet, and mixtures are colours of other labels.
    assert (evaluation.scores.class_recall[true] > 0.85).all(), evaluation.scores.class_recall[true]
    assert evaluation.scores.pixel_accuracy > 0.94
    assert evaluation.images == evaluation.of == 3


def test_scenes_that_are_seen_are_scored_without_a_mistake(tmp_path: Path, tokenizer: Path) -> None:
    cocu_scenes.write_scenes(tmp_path, seed=2, count=3)
    dataset = open_dataset("scenes", tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    names = ", ".join(f'"{name}"' for name in cocu_scenes.class_names())
    (tmp_path / "classes.json").write_text(f'{{"names": [{names}]}}')
    for number, entry in enumerate(dataset.entries):
        mask_HW = dataset[number].labels_HW
        Image.fromarray(mask_HW.astype(np.uint8)).save(tmp_path / "masks" / f"{entry.key}.png")
        Image.new("RGB", (mask_HW.shape[1], mask_HW.shape[0])).save(
            tmp_path / "pictures" / f"{entry.key}.png"
        )
    exported = open_dataset("scenes", tmp_path)
    paint_dataset(exported)
    protocol = replace(find_protocol("scenes"), most_classes=40)
    reader, texts = reader_of(tokenizer, exported, protocol)
    assert evaluate(reader, texts, exported, protocol).mean_iou == 1.0


def test_only_the_most_likely_classes_of_a_window_are_found(tmp_path: Path, tokenizer: Path) -> None:
    write_folder(tmp_path, names=["sky", "dog", "cat", "red car"], values={
        "first": [0, 1, 1, 2, 2, 2, 3, 3, 3, 3], "second": [0], "third": [0]
    })  # fmt: skip
    dataset = open_dataset("folder", tmp_path).subset(1)
    paint_dataset(dataset)
    protocol = replace(OWN, short_side=48, crop=64, stride=64, threshold=None, most_classes=2)
    reader, texts = reader_of(tokenizer, dataset, protocol)
    recall_C = evaluate(reader, texts, dataset, protocol).scores.class_recall
    assert (recall_C[2:] > 0.9).all()
    assert (recall_C[:2] < 0.1).all(), "sky and dog are not among the two"


def test_a_sweep_is_what_evaluations_one_by_one_give(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    thresholds = (0.02, 0.3, 0.7)
    sweep = sweep_thresholds(model, tokenizer, folder, OWN, thresholds=thresholds)
    curve = dict(sweep.evaluation.curve)
    assert tuple(curve) == thresholds
    for threshold in thresholds:
        alone = evaluate(model, tokenizer, folder, OWN.with_threshold(threshold))
        assert curve[threshold] == alone.mean_iou
        assert alone.curve == ((threshold, alone.mean_iou),)
    assert len(set(curve.values())) > 1, "thresholds make a difference"
    assert curve[sweep.best] == max(curve.values())
    assert sweep.evaluation.mean_iou == curve[0.3], "scores belong to the protocol's own threshold"


def test_the_protocols_own_threshold_is_always_tried(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    sweep = sweep_thresholds(model, tokenizer, folder, OWN, thresholds=(0.7, 0.1))
    assert [threshold for threshold, _ in sweep.evaluation.curve] == [0.1, 0.3, 0.7]


def test_the_network_is_asked_once_for_all_thresholds(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    def forward_calls(thresholds: tuple[float, ...]) -> int:
        calls = []
        hook = model.image_encoder.register_forward_hook(lambda *_: calls.append(1))
        evaluate(model, tokenizer, folder, OWN, thresholds=thresholds)
        hook.remove()
        return len(calls)

    assert forward_calls(()) == forward_calls((0.1, 0.2, 0.4, 0.5, 0.6)) > 0


@pytest.mark.parametrize("windows_at_once", [2, 64])
def test_batches_of_windows_change_nothing(
    windows_at_once: int, model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    expected = evaluate(model, tokenizer, folder, OWN)
    other = evaluate(model, tokenizer, folder, OWN, windows_at_once=windows_at_once)
    # Sums in another order may move a pixel between two classes that are equal.
    assert other.mean_iou == pytest.approx(expected.mean_iou, abs=2e-3)


def test_the_model_comes_back_as_it_was(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    model.train()
    before = weights_hash(model)
    evaluation = evaluate(model, tokenizer, folder, OWN)
    assert model.training
    assert weights_hash(model) == before == evaluation.checkpoint
    assert evaluate(model.eval(), tokenizer, folder, OWN).mean_iou == evaluation.mean_iou
    assert not model.training
    with torch.no_grad():
        model.caption_temperature += 1e-6
    assert weights_hash(model) != before


def test_progress_counts_every_image(model: GroupViT, tokenizer: Path, folder: SegmentationDataset) -> None:
    seen: list[tuple[int, int]] = []
    evaluation = evaluate(
        model, tokenizer, folder, OWN, images=2, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(1, 2), (2, 2)]
    assert (evaluation.images, evaluation.of) == (2, 3)


def test_half_precision_gives_about_the_same(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset
) -> None:
    single = evaluate(model, tokenizer, folder, OWN)
    half = evaluate(model, tokenizer, folder, OWN, precision="bfloat16")
    assert half.precision == "bfloat16"
    assert half.scores.pixel_accuracy == pytest.approx(single.scores.pixel_accuracy, abs=0.1)


def test_large_images_of_imagenet_s_are_reduced_first(
    model: GroupViT, tokenizer: Path, tmp_path: Path
) -> None:
    write_imagenet_s(tmp_path, {"first": [0, 50, 1000], "second": [33, 12], "third": [1]})
    dataset = open_dataset("imagenet_s", tmp_path)
    Image.new("RGB", (1200, 900)).save(Path(dataset.entries[0].image_name), format="PNG")
    protocol = replace(find_protocol("imagenet_s_50"), **SMALL)
    assert as_protocol(dataset[0], protocol).image_HW3.shape == (750, 1000, 3)
    assert as_protocol(dataset[1], protocol).image_HW3.shape == dataset[1].image_HW3.shape
    evaluation = evaluate(model, tokenizer, dataset, protocol, images=1, previews=1)
    assert evaluation.scores.truths_C.sum() == (dataset[0].labels_HW >= 0).sum(), "scored at the mask's size"


def test_labels_are_resized_to_the_nearest() -> None:
    labels_THW = torch.arange(6).reshape(1, 2, 3)
    assert resize_nearest(labels_THW, (4, 6))[0].tolist() == [
        [0, 0, 1, 1, 2, 2],
        [0, 0, 1, 1, 2, 2],
        [3, 3, 4, 4, 5, 5],
        [3, 3, 4, 4, 5, 5],
    ]
    expected = torch.nn.functional.interpolate(labels_THW[None].float(), (5, 2), mode="nearest")[0].long()
    assert torch.equal(resize_nearest(labels_THW, (5, 2)), expected)


def test_what_does_not_fit_together_is_refused(
    model: GroupViT, tokenizer: Path, folder: SegmentationDataset, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="voc is for the layout voc, not folder"):
        evaluate(model, tokenizer, folder, find_protocol("voc"))
    with pytest.raises(EvaluationError, match="no precision 'float8'"):
        evaluate(model, tokenizer, folder, OWN, precision="float8")
    with pytest.raises(EvaluationError, match="has no threshold, but there is a background"):
        evaluate(model, tokenizer, folder, replace(OWN, threshold=None))
    with pytest.raises(EvaluationError, match="893 ids and makes texts of 12, but the model has 64"):
        evaluate(GroupViT(GroupViTConfiguration.tiny()), Texts(tokenizer, 12), folder, OWN)
    write_folder(tmp_path / "more", names=NAMES[:3])
    with pytest.raises(EvaluationError, match="second under the protocol folder: labels from 1 to 3 for 3"):
        evaluate(model, tokenizer, open_dataset("folder", tmp_path / "more"), OWN)
    write_folder(tmp_path / "plain", names=["sky", *NAMES[1:]])
    plain = open_dataset("folder", tmp_path / "plain")
    with pytest.raises(EvaluationError, match="no background, so there is no threshold to try"):
        sweep_thresholds(model, tokenizer, plain, replace(OWN, threshold=None))
    with pytest.raises(EvaluationError, match="no background, so there is no threshold to try"):
        evaluate(model, tokenizer, plain, OWN, thresholds=(0.5,))


def test_labels_of_another_size_are_refused(model: GroupViT, tokenizer: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, names=NAMES)
    Image.new("RGB", (10, 10)).save(tmp_path / "pictures" / "first.png")
    with pytest.raises(DatasetError, match=r"first has \(10, 10\) pixels, but labels for \(48, 64\)"):
        evaluate(model, tokenizer, open_dataset("folder", tmp_path), OWN)
