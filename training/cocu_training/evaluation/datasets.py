"""Pictures with labelled pixels, in the layouts in which benchmarks are published.

    dataset = open_dataset("voc", "VOCdevkit/VOC2012")
    len(dataset)                      # 1,449
    picture = dataset[0]
    picture.picture_HW3, picture.labels_HW

Every layout is a function from a folder and a split to the files of all pictures; files are read when a
picture is asked for.
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


class LabelledPicture(NamedTuple):
    """picture_HW3: uint8, RGB. labels_HW: int64 of the same or another size, IGNORED where none counts."""

    key: str
    picture_HW3: NDArray[np.uint8]
    labels_HW: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a picture and its labels are read from; names say so in errors."""

    key: str
    picture: Read
    labels: Read
    picture_name: str
    labels_name: str


@dataclass(frozen=True, kw_only=True)
class SegmentationDataset(Sequence[LabelledPicture]):
    """layout and split as asked for; decode: labels as published → label values; names: those that come with
    the files, None where a benchmark's are known.
    """

    layout: str
    split: str
    folder: Path
    entries: tuple[Entry, ...]
    decode: Decode
    names: ClassNames | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> LabelledPicture:  # type: ignore[override]
        """Read one picture; raises DatasetError for files that are absent or damaged."""
        entry = self.entries[number]
        picture = _open(entry.picture, entry.picture_name)
        labels = _open(entry.labels, entry.labels_name)
        return LabelledPicture(
            entry.key, np.asarray(picture.convert("RGB")).copy(), self.decode(labels, entry.labels_name)
        )

    def subset(self, count: int) -> SegmentationDataset:
        """`count` pictures spread evenly over all of them, for a quick look; all where there are no more."""
        if count < 1:
            raise EvaluationError(f"a subset has at least one picture, not {count}")
        if count >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, count).round().astype(int).tolist()
        return replace(self, entries=tuple(self.entries[number] for number in chosen))


def _open(read: Read, name: str) -> Image.Image:
    try:
        content = read()
    except OSError as error:
        raise DatasetError(f"{name} cannot be read: {error.strerror or error}") from error
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{name} is not a picture that can be read: {error}") from error
    return image


def entry_of_files(key: str, picture: Path, labels: Path) -> Entry:
    """An entry whose picture and labels are a file each."""
    return Entry(
        key=key,
        picture=picture.read_bytes,
        labels=labels.read_bytes,
        picture_name=str(picture),
        labels_name=str(labels),
    )


def grey_levels(labels: Image.Image, name: str) -> NDArray[np.int64]:
    """One value a pixel, of a grey or palette PNG; raises DatasetError for colours."""
    if labels.mode not in {"L", "P", "I", "I;16"}:
        raise DatasetError(
            f"{name} has {labels.mode} pixels, but labels are one value a pixel, "
            "in a grey PNG or one with a palette"
        )
    return np.asarray(labels).astype(np.int64)


def ignoring(value: int) -> Decode:
    """Levels as they are, but for one that does not count."""

    def decode(labels: Image.Image, name: str) -> NDArray[np.int64]:
        levels_HW = grey_levels(labels, name)
        return np.where(levels_HW == value, IGNORED, levels_HW)

    return decode


def from_one(labels: Image.Image, name: str) -> NDArray[np.int64]:
    """Classes from 1 as from 0; 0, which is everything else, does not count."""
    levels_HW = grey_levels(labels, name)
    return np.where(levels_HW == 0, IGNORED, levels_HW - 1)


def looked_up(table_V: NDArray[np.int64]) -> Decode:
    """Levels 0 … 255 through a table."""

    def decode(labels: Image.Image, name: str) -> NDArray[np.int64]:
        levels_HW = grey_levels(labels, name)
        if levels_HW.max(initial=0) >= len(table_V):
            raise DatasetError(f"{name} has levels up to {levels_HW.max()}, not up to {len(table_V) - 1}")
        return table_V[levels_HW]

    return decode
