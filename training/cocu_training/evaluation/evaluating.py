"""A model, a dataset and a protocol → an evaluation.

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
from cocu_training.evaluation.datasets import LabelledPicture, SegmentationDataset
from cocu_training.evaluation.identity import weights_hash
from cocu_training.evaluation.pictures import draw_preview
from cocu_training.evaluation.protocols import Protocol
from cocu_training.evaluation.scoring import Confusion, Scores
from cocu_training.evaluation.segmentation import embed_classes
from cocu_training.evaluation.windows import SegmentedPicture, predict, segment_pictures
from cocu_training.model import GroupViT

Progress = Callable[[int, int], None]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
READERS = 2


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture beside its true labels, the predicted ones and the groups."""

    key: str
    image: Image.Image


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one model scores under one protocol.

    names: the classes, background first where there is one. split, folder, pictures: what was evaluated, of
    how many (`of`). scores: at the protocol's threshold. curve: (threshold, mIoU) for every background
    threshold that was tried, none where there is no background. checkpoint: hash of the weights.
    """

    protocol: Protocol
    names: ClassNames
    split: str
    folder: str
    pictures: int
    of: int
    scores: Scores
    curve: tuple[tuple[float, float], ...]
    checkpoint: str
    precision: str
    previews: tuple[Preview, ...] = ()

    @property
    def mean_iou(self) -> float:
        """mIoU in 0 … 1."""
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
    pictures: int | None = None,
    previews: int = 0,
    thresholds: Sequence[float] = (),
    windows_at_once: int = 16,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate; the model comes back in the mode it was in, on the device asked for.

    tokenizer: its file, or the texts made from it. pictures: how many, spread over the dataset; all by
    default. thresholds: of the background, tried besides the protocol's own without asking the network again.
    progress is called with the pictures done and their number.

    Raises EvaluationError for a dataset in another layout than the protocol's, labels that it has no classes
    for, another tokenizer than the model's; DatasetError for files that cannot be read.
    """
    device = torch.device(device)
    texts = (
        tokenizer if isinstance(tokenizer, Texts) else Texts(tokenizer, model.configuration.context_length)
    )
    _check(dataset, protocol, precision)
    _check_tokens(texts, model)
    names = protocol.names(dataset.names)
    chosen = dataset if pictures is None else dataset.subset(pictures)
    counting = _Counting(names, protocol, thresholds, previews=previews)
    with _evaluating(model, device), _autocast(device, precision):
        classes_CE = embed_classes(model, texts, names.prompted, protocol.templates, device=device)
        segmented = _segmented(model, _read_ahead(chosen, protocol), classes_CE, protocol, windows_at_once)
        for done, (labelled, picture) in enumerate(segmented, start=1):
            counting.add(labelled, picture)
            if progress is not None:
                progress(done, len(chosen))
    return Evaluation(
        protocol=protocol,
        names=names,
        split=dataset.split,
        folder=str(dataset.folder),
        pictures=len(chosen),
        of=len(dataset),
        scores=counting.confusions[counting.own].scores(),
        curve=counting.curve(),
        checkpoint=weights_hash(model),
        precision=precision,
        previews=tuple(counting.previews),
    )


class _Counting:
    """Labels against predictions, at every threshold at once."""

    def __init__(
        self, names: ClassNames, protocol: Protocol, thresholds: Sequence[float], *, previews: int
    ) -> None:
        self._names = names
        self._protocol = protocol
        self._wanted = previews
        self._tried = _tried(names, protocol, thresholds)
        # Which of them is the protocol's own.
        self.own = self._tried.index(protocol.threshold) if protocol.threshold in self._tried else 0
        self.confusions = [Confusion(len(names.names)) for _ in self._tried or (None,)]
        self.previews: list[Preview] = []

    def add(self, labelled: LabelledPicture, picture: SegmentedPicture) -> None:
        predicted_THW = predict(picture, self._tried or None)
        labels_HW = torch.from_numpy(labelled.labels_HW).to(predicted_THW.device)
        if len(self.previews) < self._wanted:
            predicted_HW = predicted_THW[self.own].cpu().numpy()
            image = draw_preview(
                labelled.picture_HW3, labelled.labels_HW, predicted_HW, picture, self._names.names
            )
            self.previews.append(Preview(key=labelled.key, image=image))
        if predicted_THW.shape[1:] != labels_HW.shape:
            predicted_THW = nearest(predicted_THW, (labels_HW.shape[0], labels_HW.shape[1]))
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
    # Own folders may hold scenes, and scenes may have been exported to a folder.
    if dataset.layout != protocol.layout and protocol.family != "own":
        raise EvaluationError(
            f"the protocol {protocol.name} is for the layout {protocol.layout}, not {dataset.layout}"
        )
    if precision not in PRECISIONS:
        raise EvaluationError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")


def _check_tokens(texts: Texts, model: GroupViT) -> None:
    known, longest = model.configuration.text_tokens, model.configuration.context_length
    if texts.tokens > known or texts.context_length > longest:
        raise EvaluationError(
            f"the tokenizer has {texts.tokens} ids and makes texts of {texts.context_length}, but the "
            f"model knows {known} and takes {longest}: this is not the tokenizer it was trained with"
        )


def _tried(names: ClassNames, protocol: Protocol, thresholds: Sequence[float]) -> list[float]:
    if not names.has_background:
        if thresholds:
            raise EvaluationError(f"{protocol.name} has no background, so there is no threshold to try")
        return []
    assert protocol.threshold is not None
    return sorted({protocol.threshold, *thresholds})


@contextmanager
def _evaluating(model: GroupViT, device: torch.device) -> Iterator[None]:
    training = model.training
    model.to(device).eval()
    try:
        yield
    finally:
        model.train(training)


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def _read_ahead(dataset: SegmentationDataset, protocol: Protocol) -> Iterator[LabelledPicture]:
    """The dataset's pictures in order, decoded while the network is busy with those before."""

    def read(number: int) -> LabelledPicture:
        return as_protocol(dataset[number], protocol)

    with ThreadPoolExecutor(READERS) as pool:
        waiting = [pool.submit(read, number) for number in range(min(2 * READERS, len(dataset)))]
        following = len(waiting)
        while waiting:
            yield waiting.pop(0).result()
            if following < len(dataset):
                waiting.append(pool.submit(read, following))
                following += 1


def as_protocol(labelled: LabelledPicture, protocol: Protocol) -> LabelledPicture:
    """Labels without the background where the protocol leaves it out, and large pictures reduced."""
    key, picture_HW3, labels_HW = labelled
    if protocol.without_background:
        labels_HW = np.where(labels_HW > 0, labels_HW - 1, -1)
    if not protocol.most_pixels and picture_HW3.shape[:2] != labels_HW.shape:
        raise DatasetError(
            f"the picture {key} has {picture_HW3.shape[:2]} pixels, but labels for {labels_HW.shape}"
        )
    if protocol.most_pixels and picture_HW3.shape[0] * picture_HW3.shape[1] > protocol.most_pixels:
        picture_HW3 = _reduced(picture_HW3, protocol.reduced_side)
    return LabelledPicture(key, picture_HW3, labels_HW)


def _reduced(picture_HW3: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    height, width = picture_HW3.shape[:2]
    factor = long_side / max(height, width)
    size = max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))
    return np.asarray(Image.fromarray(picture_HW3).resize(size, Image.Resampling.BILINEAR)).copy()


def _segmented(
    model: GroupViT,
    pictures: Iterator[LabelledPicture],
    classes_CE: Tensor,
    protocol: Protocol,
    windows_at_once: int,
) -> Iterator[tuple[LabelledPicture, SegmentedPicture]]:
    """Several small pictures at a time; one where a picture is many windows."""
    # So many windows has a picture whose sides are as 4 : 3, roughly.
    steps = -(-max(protocol.short_side - protocol.crop, 0) // protocol.stride) + 1
    at_once = max(1, windows_at_once // (steps * (steps + 1)))
    while group := list(islice(pictures, at_once)):
        segmented = segment_pictures(
            model,
            [labelled.picture_HW3 for labelled in group],
            classes_CE,
            short_side=protocol.short_side,
            long_side=protocol.long_side,
            crop=protocol.crop,
            stride=protocol.stride,
            most_classes=protocol.most_classes,
            windows_at_once=windows_at_once,
        )
        yield from zip(group, segmented, strict=True)


def nearest(labels_THW: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps of labels at another size, each pixel that of the nearest one."""
    rows, columns = (
        (torch.arange(wanted, device=labels_THW.device) * had // wanted)
        for wanted, had in zip(size, labels_THW.shape[1:], strict=True)
    )
    return labels_THW[:, rows][:, :, columns]
