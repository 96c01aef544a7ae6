"""Images with labelled pixels, in the published layouts of benchmarks.

    dataset = open_dataset("voc", "VOCdevkit/VOC2012")
    len(dataset)                      # 1,449
    labelled = dataset[0]
    labelled.image_HW3, labelled.labels_HW

Every layout is a function from a folder and a split to the files of all images; files are read on access.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu_training.errors import DatasetError, EvaluationError
from cocu_training.evaluation.class_names import ClassNames
from cocu_training.evaluation.scoring import IGNORED

Read = Callable[[], bytes]
Decode = Callable[[Image.Image, str], NDArray[np.int64]]


class LabelledImage(NamedTuple):
    """image_HW3: uint8, RGB. labels_HW: int64 of the same or another size, IGNORED for pixels that do not
    count."""

    key: str
    image_HW3: NDArray[np.uint8]
    labels_HW: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How to read an image and its labels; the names appear in errors."""

    key: str
    image: Read
    labels: Read
    image_name: str
    labels_name: str


@dataclass(frozen=True, kw_only=True)
class SegmentationDataset(Sequence[LabelledImage]):
    """An image segmentation dataset.

    decode: converts labels as published to label values. names: the class names that come with the files;
    None if the protocol knows them.
    """

    layout: str
    split: str
    folder: Path
    entries: tuple[Entry, ...]
    decode: Decode
    names: ClassNames | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> LabelledImage:  # type: ignore[override]
        """Read one image. Raises DatasetError for files that are absent or damaged."""
        entry = self.entries[number]
        image = _open(entry.image, entry.image_name)
        labels = _open(entry.labels, entry.labels_name)
        return LabelledImage(
            entry.key, np.asarray(image.convert("RGB")).copy(), self.decode(labels, entry.labels_name)
        )

    def subset(self, count: int) -> SegmentationDataset:
        """Return `count` images spread evenly over the dataset, or all if it has no more."""
        if count < 1:
            raise EvaluationError(f"a subset has at least one image, not {count}")
        if count >= len(self):
            return self
        numbers = np.linspace(0, len(self) - 1, count).round().astype(int).tolist()
        return replace(self, entries=tuple(self.entries[number] for number in numbers))


def _open(read: Read, name: str) -> Image.Image:
    try:
        content = read()
    except OSError as error:
        raise DatasetError(f"{name} cannot be read: {error.strerror or error}") from error
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{name} is not an image that can be read: {error}") from error
    return image


def entry_of_files(key: str, image: Path, labels: Path) -> Entry:
    """Return an entry whose image and labels are one file each."""
    return Entry(
        key=key,
        image=image.read_bytes,
        labels=labels.read_bytes,
        image_name=str(image),
        labels_name=str(labels),
    )


def grey_levels(labels: Image.Image, name: str) -> NDArray[np.int64]:
    """Return one value per pixel of a grey or palette PNG. Raises DatasetError for colours."""
    if labels.mode not in {"L", "P", "I", "I;16"}:
        raise DatasetError(
            f"{name} has {labels.mode} pixels, but labels are one value per pixel, "
            "in a grey PNG or one with a palette"
        )
    return np.asarray(labels).astype(np.int64)


def ignoring(value: int) -> Decode:
    """Return a decoder that keeps levels, except one that becomes IGNORED."""

    def decode(labels: Image.Image, name: str) -> NDArray[np.int64]:
        levels_HW = grey_levels(labels, name)
        return np.where(levels_HW == value, IGNORED, levels_HW)

    return decode


def from_one(labels: Image.Image, name: str) -> NDArray[np.int64]:
    """Decode classes counted from 1; 0, which is everything else, becomes IGNORED."""
    levels_HW = grey_levels(labels, name)
    return np.where(levels_HW == 0, IGNORED, levels_HW - 1)


def looked_up(table_V: NDArray[np.int64]) -> Decode:
    """Return a decoder that maps levels 0 … 255 by a table."""

    def decode(labels: Image.Image, name: str) -> NDArray[np.int64]:
        levels_HW = grey_levels(labels, name)
        if levels_HW.max(initial=0) >= len(table_V):
            raise DatasetError(f"{name} has levels up to {levels_HW.max()}, not up to {len(table_V) - 1}")
        return table_V[levels_HW]

    return decode
