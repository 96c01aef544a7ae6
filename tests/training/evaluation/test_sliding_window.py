"""Whole images against an implementation that does one pixel and one window at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from tests.training.evaluation.window_logits import window_logits

from cocu_training.evaluation import sliding_window
from cocu_training.evaluation.segmentation import SegmentedWindow, segment
from cocu_training.evaluation.sliding_window import (
    SegmentedImage,
    Window,
    cut_windows,
    predict,
    prepare,
    resized_size,
    segment_images,
)
from cocu_training.model import GroupViT, GroupViTConfiguration


@pytest.mark.parametrize(
    ("height", "width", "short", "expected"),
    [
        (375, 500, 448, (448, 597)),  # 375 → 448: 500 × 448 / 375 = 597.33
        (500, 375, 448, (597, 448)),
        (1024, 2048, 1024, (1024, 2048)),
        (100, 1000, 448, (205, 2048)),  # the long side is reached first: 204.8 + 0.5
        (448, 448, 448, (448, 448)),
    ],
)
def test_images_keep_their_ratio(height: int, width: int, short: int, expected: tuple[int, int]) -> None:
    assert resized_size(height, width, short_side=short, long_side=2048) == expected


@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    crop=st.integers(1, 80),
    stride=st.integers(1, 80),
)
def test_windows_cover_every_pixel_and_stay_inside(height: int, width: int, crop: int, stride: int) -> None:
    stride = min(stride, crop)
    cut = cut_windows(height, width, crop=crop, stride=stride)
    rows = -(-max(height - crop, 0) // stride) + 1
    columns = -(-max(width - crop, 0) // stride) + 1
    assert len(cut) == rows * columns
    covered = np.zeros((height, width), int)
    for window in cut:
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
        assert window.bottom - window.top == min(crop, height), "shifted back, not cut off"
        assert window.right - window.left == min(crop, width)
        covered[window.top : window.bottom, window.left : window.right] += 1
    assert covered.min() >= 1


def test_windows_of_the_published_sizes() -> None:
    cut = cut_windows(448, 597, crop=448, stride=224)
    assert [(window.left, window.right) for window in cut] == [(0, 448), (149, 597)]


def test_pixels_are_normalised_and_resized_without_smoothing() -> None:
    stripes_HW3 = np.zeros((8, 8, 3), np.uint8)
    stripes_HW3[:, ::2] = 255
    prepared_3HW = prepare(stripes_HW3, (8, 8), torch.device("cpu"))
    assert prepared_3HW[0, 0, 0].item() == pytest.approx((1 - 0.485) / 0.229, abs=1e-5)
    assert prepared_3HW[2, 0, 1].item() == pytest.approx(-0.406 / 0.225, abs=1e-5)
    # At half the size each pixel lies between two: 127.5, rounded to even.
    half_3HW = prepare(stripes_HW3, (4, 4), torch.device("cpu"))
    assert half_3HW[1].unique().tolist() == pytest.approx([(128 / 255 - 0.456) / 0.224], abs=1e-5)
    # At a quarter no more than two of four are looked at: that is what unsmoothed means.
    thirds_HW3 = np.zeros((8, 8, 3), np.uint8)
    thirds_HW3[:, 0::4] = 255
    quarter_3HW = prepare(thirds_HW3, (2, 2), torch.device("cpu"))
    assert quarter_3HW[1].unique().tolist() == pytest.approx([-0.456 / 0.224], abs=1e-5)


def naive_prediction(image: SegmentedImage, threshold: float | None) -> torch.Tensor:
    """Logits of every window added up pixel by pixel, all classes resized at once."""
    channels = image.windows[0][1].scores_GC.shape[1] + (threshold is not None)
    total = np.zeros((channels, *image.size), np.float32)
    count = np.zeros(image.size, np.float32)
    for window, segmented in image.windows:
        logits = window_logits(segmented, threshold).numpy()
        for row in range(window.top, window.bottom):
            for column in range(window.left, window.right):
                total[:, row, column] += logits[:, row - window.top, column - window.left]
                count[row, column] += 1
    averaged = torch.nn.functional.interpolate(
        torch.from_numpy(total / count)[None], image.original, mode="bilinear", align_corners=False
    )[0]
    return averaged.argmax(dim=0)


def random_image(
    seed: int, *, size: tuple[int, int], original: tuple[int, int], classes: int = 6
) -> SegmentedImage:
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for window in cut_windows(*size, crop=12, stride=7):
        scores_GC = torch.rand(4, classes, generator=rng) ** 4
        scores_GC[:, torch.randperm(classes, generator=rng)[: classes // 2]] = 0
        shape = window.bottom - window.top, window.right - window.left
        groups_HW = torch.randint(0, 4, shape, generator=rng, dtype=torch.int16)
        parts.append((window, SegmentedWindow(scores_GC, groups_HW)))
    return SegmentedImage(tuple(parts), size, original)


@pytest.mark.parametrize("original", [(20, 31), (33, 50), (9, 14)], ids=["same", "larger", "smaller"])
@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_the_naive_way(seed: int, original: tuple[int, int]) -> None:
    image = random_image(seed, size=(20, 31), original=original)
    thresholds = [0.0, 0.2, 0.5, 0.95, 1.0]
    predicted_THW = predict(image, thresholds)
    assert predicted_THW.shape == (5, *original)
    for threshold, predicted_HW in zip(thresholds, predicted_THW, strict=True):
        assert torch.equal(predicted_HW, naive_prediction(image, threshold)), threshold
    assert torch.equal(predict(image, None)[0], naive_prediction(image, None))
    assert 0 < (predicted_THW[3] == 0).float().mean() < 1, "some background, some not"


def test_few_classes_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_image(1, size=(20, 31), original=(40, 60), classes=11)
    at_once = predict(image, [0.5])
    monkeypatch.setattr(sliding_window, "RESIZED_AT_ONCE", 2 * 40 * 60)
    assert torch.equal(predict(image, [0.5]), at_once)


def test_where_all_scores_vanish_the_first_label_wins() -> None:
    segmented = SegmentedWindow(
        torch.tensor([[0.0, 0.0, 0.7], [0.0, 0.0, 0.0]]), torch.eye(4, dtype=torch.int16)
    )
    image = SegmentedImage(((Window(0, 0, 4, 4), segmented),), (4, 4), (4, 4))
    assert predict(image, None)[0].tolist() == [
        [2 * (row != column) for column in range(4)] for row in range(4)
    ]
    assert predict(image, [0.0])[0].tolist() == [
        [3 * (row != column) for column in range(4)] for row in range(4)
    ]


@pytest.fixture
def model() -> GroupViT:
    torch.manual_seed(3)
    return GroupViT(GroupViTConfiguration.tiny()).eval()


def test_images_together_are_what_they_are_alone(model: GroupViT) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 80), (80, 60), (30, 90))]
    classes_CE = torch.nn.functional.normalize(torch.randn(9, 12), dim=-1)
    settings = {"short_side": 40, "long_side": 120, "crop": 32, "stride": 32, "most_classes": 3}
    with torch.no_grad():
        together = segment_images(model, images, classes_CE, **settings, windows_at_once=5)
        for image_HW3, segmented in zip(images, together, strict=True):
            size = resized_size(*image_HW3.shape[:2], short_side=40, long_side=120)
            assert (segmented.size, segmented.original) == (size, image_HW3.shape[:2])
            pixels_3HW = prepare(image_HW3, size, torch.device("cpu"))
            cut = cut_windows(*size, crop=32, stride=32)
            assert [window for window, _ in segmented.windows] == cut
            for window, window_result in segmented.windows:
                part = pixels_3HW[None, :, window.top : window.bottom, window.left : window.right]
                alone = segment(model, part, classes_CE, most_classes=3)[0]
                torch.testing.assert_close(window_result.scores_GC, alone.scores_GC)
                assert (window_result.groups_HW != alone.groups_HW).float().mean() < 0.01
