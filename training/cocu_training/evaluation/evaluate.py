"""Evaluation of a model on a dataset under a protocol.

evaluation = evaluate(model, "tokenizer.json", open_dataset("voc", folder), find_protocol("voc"))
evaluation.mean_iou               # 0.5231
print_evaluation(evaluation)      # see `report`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cocu_training.data.texts import Texts
from cocu_training.errors import DatasetError, EvaluationError
from cocu_training.evaluation.class_names import ClassNames
from cocu_training.evaluation.datasets import LabelledImage, SegmentationDataset
from cocu_training.evaluation.identity import weights_hash
from cocu_training.evaluation.images import draw_preview
from cocu_training.evaluation.protocols import Protocol
from cocu_training.evaluation.scoring import Confusion, Scores
from cocu_training.evaluation.segmentation import embed_classes
from cocu_training.evaluation.sliding_window import SegmentedImage, predict, segment_images
from cocu_training.model import GroupViT

Progress = Callable[[int, int], None]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
READERS = 2


@dataclass(frozen=True, kw_only=True)
class Preview:
    """An image beside its true labels, its predicted labels and its groups."""

    key: str
    image: Image.Image


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of one model under one protocol.

    names: the classes, background first if there is one. split, folder: of the dataset. images: the number of
    evaluated images; of: the number in the split. scores: at the protocol's threshold. curve: (threshold,
    mIoU) for every background threshold tried, empty if there is no background. checkpoint: hash of the
    weights.
    """

    protocol: Protocol
    names: ClassNames
    split: str
    folder: str
    images: int
    of: int
    scores: Scores
    curve: tuple[tuple[float, float], ...]
    checkpoint: str
    precision: str
    previews: tuple[Preview, ...] = ()

    @property
    def mean_iou(self) -> float:
        """The mIoU, in 0 … 1."""
        return self.scores.mean_iou


@torch.inference_mode()
def evaluate(
    model: GroupViT,
    tokenizer: Texts | str | Path,
    dataset: SegmentationDataset,
    protocol: Protocol,
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    images: int | None = None,
    previews: int = 0,
    thresholds: Sequence[float] = (),
    windows_at_once: int = 16,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model; afterwards it is in its former mode, on the given device.

    tokenizer: its file, or the texts made from it. images: the number of images, spread over the dataset; all
    by default. thresholds: background thresholds to try beside the protocol's own, without running the
    network again. progress is called with the number of images done and the number of all.

    Raises EvaluationError when the dataset has another layout than the protocol, when labels have no class,
    or when the tokenizer is not the model's; DatasetError for files that cannot be read.
    """
    device = torch.device(device)
    texts = (
        tokenizer if isinstance(tokenizer, Texts) else Texts(tokenizer, model.configuration.context_length)
    )
    _check(dataset, protocol, precision)
    _check_tokens(texts, model)
    names = protocol.names(dataset.names)
    chosen = dataset if images is None else dataset.subset(images)
    counter = _Counter(names, protocol, thresholds, previews=previews)
    with _evaluation_mode(model, device), _autocast(device, precision):
        classes_CE = embed_classes(model, texts, names.prompted, protocol.templates, device=device)
        segmented = _segmented(model, _read_ahead(chosen, protocol), classes_CE, protocol, windows_at_once)
        for done, (labelled, image) in enumerate(segmented, start=1):
            counter.add(labelled, image)
            if progress is not None:
                progress(done, len(chosen))
    return Evaluation(
        protocol=protocol,
        names=names,
        split=dataset.split,
        folder=str(dataset.folder),
        images=len(chosen),
        of=len(dataset),
        scores=counter.confusions[counter.own].scores(),
        curve=counter.curve(),
        checkpoint=weights_hash(model),
        precision=precision,
        previews=tuple(counter.previews),
    )


class _Counter:
    """Counts labels against predictions, at every threshold at once."""

    def __init__(
        self, names: ClassNames, protocol: Protocol, thresholds: Sequence[float], *, previews: int
    ) -> None:
        self._names = names
        self._protocol = protocol
        self._wanted = previews
        self._tried = _tried(names, protocol, thresholds)
        # The index of the protocol's own threshold.
        self.own = self._tried.index(protocol.threshold) if protocol.threshold in self._tried else 0
        self.confusions = [Confusion(len(names.names)) for _ in self._tried or (None,)]
        self.previews: list[Preview] = []

    def add(self, labelled: LabelledImage, segmented: SegmentedImage) -> None:
        predicted_THW = predict(segmented, self._tried or None)
        labels_HW = torch.from_numpy(labelled.labels_HW).to(predicted_THW.device)
        if len(self.previews) < self._wanted:
            predicted_HW = predicted_THW[self.own].cpu().numpy()
            preview = draw_preview(
                labelled.image_HW3, labelled.labels_HW, predicted_HW, segmented, self._names.names
            )
            self.previews.append(Preview(key=labelled.key, image=preview))
        if predicted_THW.shape[1:] != labels_HW.shape:
            predicted_THW = resize_nearest(predicted_THW, (labels_HW.shape[0], labels_HW.shape[1]))
        for confusion, predicted_HW in zip(self.confusions, predicted_THW, strict=True):
            try:
                confusion.add(labels_HW, predicted_HW)
            except ValueError as error:
                raise EvaluationError(
                    f"{labelled.key} under the protocol {self._protocol.name}: {error}"
                ) from error

    def curve(self) -> tuple[tuple[float, float], ...]:
        return tuple(
            (threshold, confusion.scores().mean_iou)
            for threshold, confusion in zip(self._tried, self.confusions, strict=bool(self._tried))
        )


def _check(dataset: SegmentationDataset, protocol: Protocol, precision: str) -> None:
    # A folder may hold exported scenes, so the own protocols accept both layouts.
    if dataset.layout != protocol.layout and protocol.family != "own":
        raise EvaluationError(
            f"the protocol {protocol.name} is for the layout {protocol.layout}, not {dataset.layout}"
        )
    if precision not in PRECISIONS:
        raise EvaluationError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")


def _check_tokens(texts: Texts, model: GroupViT) -> None:
    text_tokens, longest = model.configuration.text_tokens, model.configuration.context_length
    if texts.tokens > text_tokens or texts.context_length > longest:
        raise EvaluationError(
            f"the tokenizer has {texts.tokens} ids and makes texts of {texts.context_length}, but the "
            f"model has {text_tokens} ids and takes texts of {longest}: it was trained with another tokenizer"
        )


def _tried(names: ClassNames, protocol: Protocol, thresholds: Sequence[float]) -> list[float]:
    if not names.has_background:
        if thresholds:
            raise EvaluationError(f"{protocol.name} has no background, so there is no threshold to try")
        return []
    assert protocol.threshold is not None
    return sorted({protocol.threshold, *thresholds})


@contextmanager
def _evaluation_mode(model: GroupViT, device: torch.device) -> Iterator[None]:
    training = model.training
    model.to(device).eval()
    try:
        yield
    finally:
        model.train(training)


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def _read_ahead(dataset: SegmentationDataset, protocol: Protocol) -> Iterator[LabelledImage]:
    """Yield the images of a dataset in order; decode ahead while the network computes."""

    def read(number: int) -> LabelledImage:
        return as_protocol(dataset[number], protocol)

    with ThreadPoolExecutor(READERS) as pool:
        waiting = [pool.submit(read, number) for number in range(min(2 * READERS, len(dataset)))]
        following = len(waiting)
        while waiting:
            yield waiting.pop(0).result()
            if following < len(dataset):
                waiting.append(pool.submit(read, following))
                following += 1


def as_protocol(labelled: LabelledImage, protocol: Protocol) -> LabelledImage:
    """Remove the background from the labels if the protocol does, and reduce large images."""
    key, image_HW3, labels_HW = labelled
    if protocol.without_background:
        labels_HW = np.where(labels_HW > 0, labels_HW - 1, -1)
    if not protocol.most_pixels and image_HW3.shape[:2] != labels_HW.shape:
        raise DatasetError(
            f"the image {key} has {image_HW3.shape[:2]} pixels, but labels for {labels_HW.shape}"
        )
    if protocol.most_pixels and image_HW3.shape[0] * image_HW3.shape[1] > protocol.most_pixels:
        image_HW3 = _reduced(image_HW3, protocol.reduced_side)
    return LabelledImage(key, image_HW3, labels_HW)


def _reduced(image_HW3: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    height, width = image_HW3.shape[:2]
    factor = long_side / max(height, width)
    size = max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))
    return np.asarray(Image.fromarray(image_HW3).resize(size, Image.Resampling.BILINEAR)).copy()


def _segmented(
    model: GroupViT,
    images: Iterator[LabelledImage],
    classes_CE: Tensor,
    protocol: Protocol,
    windows_at_once: int,
) -> Iterator[tuple[LabelledImage, SegmentedImage]]:
    """Segment several small images at a time, or one image if it has many windows."""
    # The approximate number of windows of an image with sides 4 : 3.
    steps = -(-max(protocol.short_side - protocol.crop, 0) // protocol.stride) + 1
    at_once = max(1, windows_at_once // (steps * (steps + 1)))
    while group := list(islice(images, at_once)):
        segmented = segment_images(
            model,
            [labelled.image_HW3 for labelled in group],
            classes_CE,
            short_side=protocol.short_side,
            long_side=protocol.long_side,
            crop=protocol.crop,
            stride=protocol.stride,
            most_classes=protocol.most_classes,
            windows_at_once=windows_at_once,
        )
        yield from zip(group, segmented, strict=True)


def resize_nearest(labels_THW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps of labels; each pixel gets the label of the nearest one."""
    rows, columns = (
        (torch.arange(target, device=labels_THW.device) * source // target)
        for target, source in zip(size, labels_THW.shape[1:], strict=True)
    )
    return labels_THW[:, rows][:, :, columns]
