"""One window: the worked example, and the axes and corners it does not show."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.evaluation.window_logits import window_logits

from cocu_training.data.texts import Texts
from cocu_training.evaluation.segmentation import (
    SegmentedWindow,
    background_groups,
    class_scores,
    embed_classes,
    group_maps,
    segment,
)
from cocu_training.model import GroupViT, GroupViTConfiguration

SCALE = 1 / 0.07
COSINES = torch.tensor(
    [[0.30, 0.28, 0.10, 0.05, 0.02, 0.01], [0.06, 0.05, 0.20, 0.19, 0.04, 0.25]], dtype=torch.float64
)
POOLED = torch.tensor([0.25, 0.26, 0.22, 0.10, 0.05, 0.08], dtype=torch.float64)
EXPECTED = torch.tensor(
    [
        [0.288418, 0.162875, 0.000951, 0.000228, 0, 0.000073],
        [0.001032, 0.000776, 0.056345, 0.042342, 0, 0.235114],
    ],
    dtype=torch.float64,
)


def worked_scores() -> torch.Tensor:
    # With classes as axes, vectors are their own cosines.
    return class_scores(COSINES[None], POOLED[None], torch.eye(6).double(), scale=SCALE, most_classes=5)[0]


def test_the_worked_example() -> None:
    torch.testing.assert_close(worked_scores(), EXPECTED, atol=1e-6, rtol=0)


def test_the_thresholds_of_the_worked_example() -> None:
    scores_GC = worked_scores()
    background_TG = background_groups(scores_GC, torch.tensor([0.95, 0.15], dtype=torch.float64))
    assert background_TG.tolist() == [[False, True], [False, False]]
    groups_HW = torch.tensor([[0, 1]], dtype=torch.int16)
    for threshold, expected in ((0.95, [[1, 0]]), (0.15, [[1, 6]])):
        logits_KHW = window_logits(SegmentedWindow(scores_GC, groups_HW), threshold)
        assert logits_KHW.shape == (7, 1, 2)
        assert logits_KHW.argmax(dim=0).tolist() == expected, "class 0 of the foreground has label 1"


def test_the_threshold_counts_groups_that_own_no_pixel() -> None:
    groups_HW = torch.ones((2, 3), dtype=torch.int16)
    logits_KHW = window_logits(SegmentedWindow(worked_scores(), groups_HW), 0.95)
    assert (logits_KHW.argmax(dim=0) == 0).all(), "the whole window becomes background"


def test_classes_are_chosen_for_each_window() -> None:
    both_BGC = torch.stack([COSINES, COSINES])
    pooled_BE = torch.stack([POOLED, POOLED.flip(0)])
    scores_BGC = class_scores(both_BGC, pooled_BE, torch.eye(6).double(), scale=SCALE, most_classes=2)
    assert [sorted(row.amax(0).nonzero()[:, 0].tolist()) for row in scores_BGC] == [[0, 1], [4, 5]]


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_fewer_classes_than_are_kept(classes: int) -> None:
    scores_BGC = class_scores(
        COSINES[None, :, :classes], POOLED[None, :classes], torch.eye(classes).double(), scale=SCALE
    )
    expected = (SCALE * COSINES[:, :classes]).softmax(-1) ** 2
    torch.testing.assert_close(scores_BGC[0], expected)


def test_group_maps_are_argmaxes_of_resized_soft_maps() -> None:
    torch.manual_seed(0)
    maps_BPG = torch.rand(2, 3 * 5, 4).softmax(-1)
    groups_BHW = group_maps(maps_BPG, (3, 5), (24, 40))
    assert groups_BHW.shape == (2, 24, 40)
    for number in range(2):
        for group in range(4):
            one_11HW = maps_BPG[number, :, group].reshape(1, 1, 3, 5)
            resized = torch.nn.functional.interpolate(
                one_11HW, (24, 40), mode="bilinear", align_corners=False
            )
            others = torch.stack(
                [
                    torch.nn.functional.interpolate(
                        maps_BPG[number, :, other].reshape(1, 1, 3, 5), (24, 40), mode="bilinear"
                    )[0, 0]
                    for other in range(4)
                ]
            )
            chosen = groups_BHW[number] == group
            assert (resized[0, 0][chosen] == others.amax(0)[chosen]).all()
    # A corner of a bilinear map with corners not aligned is the value of its patch.
    assert groups_BHW[0, 0, 0] == maps_BPG[0, 0].argmax()
    assert groups_BHW[0, -1, -1] == maps_BPG[0, -1].argmax()


@pytest.fixture
def model() -> GroupViT:
    torch.manual_seed(3)
    return GroupViT(GroupViTConfiguration.tiny(text_tokens=893)).eval()


@pytest.fixture
def texts(repository: Path) -> Texts:
    return Texts(repository / "examples" / "encoders" / "scenes" / "tokenizer.json", 8)


def test_templates_are_averaged_before_they_are_normalised(model: GroupViT, texts: Texts) -> None:
    names, templates = ["dog", "red car"], ["a photo of a {}.", "art of the {}."]
    with torch.no_grad():
        classes_CE = embed_classes(model, texts, names, templates, device=torch.device("cpu"))
        for name, class_E in zip(names, classes_CE, strict=True):
            projected = [model.project_texts(texts([template.format(name)]))[0] for template in templates]
            mean_E = torch.stack(projected).mean(dim=0)
            torch.testing.assert_close(class_E, mean_E / mean_E.norm())
            wrong_E = torch.stack([vector / vector.norm() for vector in projected]).mean(dim=0)
            assert (class_E - wrong_E / wrong_E.norm()).abs().max() > 1e-5, "the order makes a difference"


def test_more_classes_than_go_through_the_text_tower_at_once(
    model: GroupViT, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["dog", "cat", "red car", "sofa", "tree"]
    with torch.no_grad():
        at_once = embed_classes(model, texts, names, ["{}"], device=torch.device("cpu"))
        monkeypatch.setattr("cocu_training.evaluation.segmentation.TEXTS_AT_ONCE", 2)
        in_parts = embed_classes(model, texts, names, ["{}"], device=torch.device("cpu"))
    torch.testing.assert_close(at_once, in_parts)


def test_windows_do_not_see_one_another(model: GroupViT) -> None:
    torch.manual_seed(0)
    classes_CE = torch.nn.functional.normalize(torch.randn(7, 12), dim=-1)
    windows_B3HW = torch.randn(3, 3, 40, 32)
    with torch.no_grad():
        together = segment(model, windows_B3HW, classes_CE)
        alone = segment(model, windows_B3HW[1:2], classes_CE)[0]
    torch.testing.assert_close(together[1].scores_GC, alone.scores_GC)
    assert together[1].groups_HW.shape == (40, 32)
    assert (together[1].groups_HW == alone.groups_HW).float().mean() > 0.99


def test_images_smaller_than_a_patch_are_refused(model: GroupViT) -> None:
    with pytest.raises(ValueError, match="5 × 40 once resized is smaller than a patch of 8"):
        segment(model, torch.zeros(1, 3, 5, 40), torch.eye(12))


def test_broken_weights_are_not_scored(model: GroupViT) -> None:
    with torch.no_grad():
        model.image_projector[3].bias.fill_(float("nan"))
        with pytest.raises(ValueError, match="not finite"):
            segment(model, torch.randn(1, 3, 32, 32), torch.eye(12))
