"""Scores against torchmetrics, and what both leave out."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
classification = pytest.importorskip("torchmetrics.classification")

from cocu_training.evaluation.scoring import Confusion


def images(
    seed: int, classes: int, *, unused: tuple[int, ...] = ()
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    used = torch.tensor([number for number in range(classes) if number not in unused])
    pairs = []
    for height, width in ((17, 23), (8, 40), (31, 5)):
        labels_HW = used[torch.randint(0, len(used), (height, width), generator=rng)]
        wrong_HW = used[torch.randint(0, len(used), (height, width), generator=rng)]
        keep_HW = torch.rand((height, width), generator=rng) < 0.6
        ignored_HW = torch.rand((height, width), generator=rng) < 0.2
        pairs.append((labels_HW.masked_fill(ignored_HW, -1), torch.where(keep_HW, labels_HW, wrong_HW)))
    return pairs


@pytest.mark.parametrize(("classes", "unused"), [(2, ()), (7, ()), (9, (0, 4))])
def test_scores_are_those_of_torchmetrics(classes: int, unused: tuple[int, ...]) -> None:
    confusion = Confusion(classes)
    jaccard = classification.MulticlassJaccardIndex(classes, average="none", ignore_index=-1)
    counts = classification.MulticlassConfusionMatrix(classes, ignore_index=-1)
    accuracy = classification.MulticlassAccuracy(classes, average="micro", ignore_index=-1)
    for labels_HW, predicted_HW in images(classes, classes, unused=unused):
        confusion.add(labels_HW, predicted_HW)
        for metric in (jaccard, counts, accuracy):
            metric.update(predicted_HW[None], labels_HW[None])
    scores = confusion.scores()
    np.testing.assert_array_equal(confusion.counts_CC, counts.compute().numpy())
    seen = [number for number in range(classes) if number not in unused]
    np.testing.assert_allclose(scores.class_iou[seen], jaccard.compute().numpy()[seen], rtol=1e-6)
    assert np.isnan(scores.class_iou[list(unused)]).all()
    assert scores.mean_iou == pytest.approx(float(np.mean(jaccard.compute().numpy()[seen])))
    assert scores.pixel_accuracy == pytest.approx(accuracy.compute().item())


def test_sums_are_over_the_set_and_not_means_of_images() -> None:
    confusion = Confusion(2)
    confusion.add(torch.tensor([[0, 0, 0, 1]]), torch.tensor([[0, 0, 0, 0]]))
    confusion.add(torch.tensor([[1, -1]]), torch.tensor([[1, 0]]))
    scores = confusion.scores()
    assert scores.class_iou.tolist() == [3 / 4, 1 / 2]
    assert scores.mean_iou == 5 / 8
    assert scores.class_recall.tolist() == [1, 1 / 2]
    assert scores.pixel_accuracy == 4 / 5


def test_classes_without_union_are_left_out_but_false_alarms_count() -> None:
    confusion = Confusion(4)
    confusion.add(torch.tensor([[0, 0]]), torch.tensor([[0, 2]]))
    scores = confusion.scores()
    assert np.isnan(scores.class_iou).tolist() == [False, True, False, True]
    assert scores.class_iou[2] == 0, "predicted, and nowhere true"
    assert scores.mean_iou == 0.25


def test_counts_are_exact_beyond_float_numbers() -> None:
    confusion = Confusion(2)
    confusion.counts_CC[0, 0] = 2**53
    confusion.add(torch.tensor([[0]]), torch.tensor([[0]]))
    assert confusion.scores().intersections_C[0] == 2**53 + 1


def test_parts_can_be_merged() -> None:
    whole, left, right = Confusion(5), Confusion(5), Confusion(5)
    for number, pair in enumerate(images(0, 5)):
        whole.add(*pair)
        (left if number else right).add(*pair)
    left.merge(right)
    np.testing.assert_array_equal(left.counts_CC, whole.counts_CC)


def test_nothing_counted_has_no_score() -> None:
    confusion = Confusion(3)
    confusion.add(torch.tensor([[-1, -1]]), torch.tensor([[0, 1]]))
    assert math.isnan(confusion.scores().mean_iou)
    assert math.isnan(confusion.scores().pixel_accuracy)


def test_what_does_not_fit_is_refused() -> None:
    confusion = Confusion(3)
    with pytest.raises(ValueError, match="labels from 0 to 3 for 3 classes"):
        confusion.add(torch.tensor([[0, 3]]), torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="predictions from 0 to 7 for 3 classes"):
        confusion.add(torch.tensor([[0, 1]]), torch.tensor([[0, 7]]))
    with pytest.raises(ValueError, match="labels from -2 to 0"):
        confusion.add(torch.tensor([[0, -2]]), torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match=r"labels of \(1, 2\) pixels, predictions of \(2, 1\)"):
        confusion.add(torch.tensor([[0, 1]]), torch.tensor([[0], [1]]))
    assert confusion.counts_CC.sum() == 0
