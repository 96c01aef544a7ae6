"""What is printed and written: every figure with its protocol, and images that show what was predicted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image
from rich.console import Console
from tests.training.evaluation.colour_reader import ColourReader, paint_dataset
from tests.training.evaluation.layout_writers import write_folder

from cocu_training.data.texts import Texts
from cocu_training.evaluation import (
    Evaluation,
    evaluate,
    evaluation_document,
    find_protocol,
    open_dataset,
    print_evaluation,
    write_evaluation,
)
from cocu_training.evaluation.images import class_colours, colours, draw_preview, group_map, overlay
from cocu_training.evaluation.segmentation import SegmentedWindow
from cocu_training.evaluation.sliding_window import SegmentedImage, Window

NAMES = ["background", "dog", "cat", "red car", "zebra"]
PROTOCOL = replace(find_protocol("folder"), short_side=48, crop=40, stride=24)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Evaluation:
    folder = tmp_path_factory.mktemp("own")
    write_folder(folder, names=NAMES)
    dataset = open_dataset("folder", folder)
    paint_dataset(dataset)
    texts = Texts(repository / "examples" / "encoders" / "scenes" / "tokenizer.json", 12)
    reader = ColourReader(texts, [f"a photo of a {name}." for name in NAMES[1:]], first=1)
    return evaluate(reader, texts, dataset, PROTOCOL, previews=2, thresholds=(0.5, 0.9))


def printed(evaluation: Evaluation) -> str:
    stream = io.StringIO()
    print_evaluation(evaluation, Console(file=stream, width=200, no_color=True))
    return stream.getvalue()


def test_figures_are_printed_with_all_they_depend_on(evaluation: Evaluation) -> None:
    text = printed(evaluation)
    title = "folder (short side 48 instead of 448; crop 40 instead of 448; stride 24 instead of 224)"
    assert text.count(title) == 2, "above the table, and beside the figure"
    for part in (
        "windows of 40 every 24",
        "“a photo of a {}.”",
        "background below 0.95",
        "3 images of val in",
        "class names mine-3",
        f"weights {evaluation.checkpoint[:12]}",
        f"mIoU {100 * evaluation.mean_iou:.2f} %",
        "4 of 5 classes seen",
    ):
        assert part in text, text
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│")}
    assert f"{100 * evaluation.scores.class_iou[1]:.2f}" in rows["dog"]
    assert "zebra" not in rows, "no pixels, no predictions, no figure"
    assert "0.50" in rows, "the thresholds that were tried"


def test_fewer_images_than_published_are_said(evaluation: Evaluation) -> None:
    partly = replace(evaluation, images=2, protocol=replace(find_protocol("voc")))
    assert "2 of 3 images of val" in printed(partly)
    assert "the published set has 1,449" in printed(partly)


def test_the_document_is_plain_json_and_complete(evaluation: Evaluation, tmp_path: Path) -> None:
    file = write_evaluation(evaluation, tmp_path / "results")
    document = json.loads(file.read_text())
    assert document == evaluation_document(evaluation)
    assert document["protocol"].startswith("folder (")
    assert document["mean_iou"] == evaluation.mean_iou
    assert document["settings"]["threshold"] == 0.95
    assert document["settings"]["templates"] == ["a photo of a {}."]
    assert document["class_names"] == "mine-3"
    assert [row["name"] for row in document["classes"]] == NAMES
    assert document["classes"][4]["iou"] is None
    assert [point["threshold"] for point in document["curve"]] == [0.5, 0.9, 0.95]
    shown = sorted(path.name for path in (tmp_path / "results" / "previews").iterdir())
    assert shown == ["first.png", "second.png"]
    for path in (tmp_path / "results" / "previews").iterdir():
        with Image.open(path) as image:
            assert image.size[0] > 400


def test_keys_with_slashes_stay_in_the_folder(evaluation: Evaluation, tmp_path: Path) -> None:
    odd = replace(evaluation, previews=(replace(evaluation.previews[0], key="../a/b"),))
    write_evaluation(odd, tmp_path / "results")
    assert [path.name for path in (tmp_path / "results" / "previews").iterdir()] == [".._a_b.png"]


def test_overlays_show_labels_over_the_image() -> None:
    palette_C3 = class_colours(["background", "dog"], [1])
    assert palette_C3[0].tolist() == [70, 74, 82]
    image_HW3 = np.full((1, 3, 3), 100, np.uint8)
    labels_HW = np.array([[0, 1, -1]])
    shown_HW3 = overlay(image_HW3, labels_HW, palette_C3, strength=0.5)
    assert shown_HW3[0, 0].tolist() == [85, 87, 91]
    np.testing.assert_allclose(shown_HW3[0, 1], (100 + palette_C3[1].astype(float)) / 2, atol=0.5)
    assert shown_HW3[0, 2].tolist() == [162, 162, 162], "light where none counts"


def test_colours_are_the_same_each_time_and_all_differ() -> None:
    assert colours(171).tolist() == colours(171).tolist()
    assert len({tuple(row) for row in colours(301).tolist()}) == 301


def test_of_many_classes_those_in_the_image_differ_most() -> None:
    names = [f"class {number}" for number in range(144)]
    palette_C3 = class_colours(names, [7, 91, 130])
    assert palette_C3[[7, 91, 130]].tolist() == colours(3).tolist()
    assert class_colours(names[:20], [3, 5]).tolist() == colours(20).tolist()


def two_windows() -> SegmentedImage:
    scores_GC = torch.tensor([[0.9, 0.0], [0.0, 0.8]])
    groups_HW = torch.tensor([[0, 0, 0, 1, 1, 1]] * 4, dtype=torch.int16)
    windows = (Window(0, 0, 4, 6), Window(0, 4, 4, 10))
    return SegmentedImage(
        tuple((window, SegmentedWindow(scores_GC, groups_HW)) for window in windows), (4, 10), (4, 10)
    )


def test_groups_of_different_windows_are_different_groups() -> None:
    assert group_map(two_windows()).tolist() == [[0, 0, 0, 1, 1, 2, 2, 3, 3, 3]] * 4


def test_a_preview_has_four_panels_and_a_legend() -> None:
    image_HW3 = np.full((4, 10, 3), 100, np.uint8)
    labels_HW = np.zeros((4, 10), np.int64)
    labels_HW[:, 5:] = 1
    image = draw_preview(image_HW3, labels_HW, 1 - labels_HW, two_windows(), ["dog", "cat"])
    pixels = np.asarray(image)
    palette_C3 = class_colours(["dog", "cat"], [0, 1])
    for colour in palette_C3:
        assert (pixels == colour).all(axis=-1).any(), "the legend has the plain colours"
    seen = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    assert {tuple(row) for row in colours(4).tolist()} <= seen, "all four groups"
    mixed = [tuple((0.4 * 100 + 0.6 * row.astype(float)).round().astype(int)) for row in palette_C3]
    middle = pixels[pixels.shape[0] // 2]
    order = [mixed.index(tuple(pixel)) for pixel in middle.tolist() if tuple(pixel) in mixed]
    changes = [order[0], *(later for before, later in pairwise(order) if before != later)]
    assert changes == [0, 1, 0], "true labels, then the other way round"
