"""The published layouts of benchmarks: functions from a folder and a split to a dataset."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu_training.errors import DatasetError, EvaluationError
from cocu_training.evaluation.class_names import ClassNames
from cocu_training.evaluation.datasets import (
    Decode,
    Entry,
    SegmentationDataset,
    entry_of_files,
    from_one,
    grey_levels,
    ignoring,
    looked_up,
)
from cocu_training.evaluation.scoring import IGNORED

SPLITS = ("val", "train")
# Ids of COCO without a class: they were left out when the labels were published.
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
COCO_THINGS = 80
IMAGENET_S_IGNORED = 1_000
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def open_dataset(layout: str, folder: str | Path, *, split: str = "val") -> SegmentationDataset:
    """Open a dataset in one of LAYOUTS: the split "val", or "train", on which thresholds are chosen.

    Raises EvaluationError for another layout or split, and DatasetError, a subclass, for missing files.
    """
    if layout not in LAYOUTS:
        raise EvaluationError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if split not in SPLITS:
        raise EvaluationError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    dataset = LAYOUTS[layout](folder, split)
    if not dataset.entries:
        raise DatasetError(f"{folder} holds no images of split {split!r} in the layout {layout}")
    return dataset


def _find_root(folder: Path, *parts: str) -> Path:
    """Return the folder, or the usual subfolder of its archive, that contains the given path."""
    for root in (folder, *(folder / name for name in _UNPACKED)):
        if (root / Path(*parts)).exists():
            return root
    raise DatasetError(f"there is no {Path(*parts)} in {folder}")


_UNPACKED = (
    "VOCdevkit/VOC2012",
    "VOCdevkit/VOC2010",
    "VOC2012",
    "VOC2010",
    "ADEChallengeData2016",
    "coco_stuff164k",
    "cityscapes",
)


def _pascal(
    folder: Path, split: str, *, lists: str, labels: str, decode: Decode, layout: str
) -> SegmentationDataset:
    root = _find_root(folder, "ImageSets", lists, f"{split}.txt")
    keys = (root / "ImageSets" / lists / f"{split}.txt").read_text(encoding="utf-8").split()
    entries = (
        entry_of_files(key, root / "JPEGImages" / f"{key}.jpg", root / labels / f"{key}.png") for key in keys
    )
    return _dataset(layout, split, root, entries, decode)


def _coco(folder: Path, split: str, *, layout: str, objects: bool) -> SegmentationDataset:
    """COCO-Stuff's labels: converted train ids if present, otherwise the published pixel maps."""
    root = _find_root(folder, "annotations", f"{split}2017")
    labels = root / "annotations" / f"{split}2017"
    images = root / "images" / f"{split}2017"
    forms: list[tuple[str, Decode]] = [
        ("_labelTrainIds", _things_first if objects else ignoring(255)),
        ("", looked_up(_coco_table(objects=objects))),
    ]
    if objects:
        forms.insert(0, ("_instanceTrainIds", _unlabelled_is_background))
    for suffix, decode in forms:
        files = sorted(
            file for file in labels.glob(f"*{suffix}.png") if suffix or not file.stem.endswith("TrainIds")
        )
        if files:
            keys = [file.stem.removesuffix(suffix) for file in files]
            entries = (
                entry_of_files(key, images / f"{key}.jpg", file)
                for key, file in zip(keys, files, strict=True)
            )
            return _dataset(layout, split, root, entries, decode)
    patterns = ", ".join(f"*{suffix}.png" for suffix, _ in forms)
    raise DatasetError(f"{labels} has none of {patterns}")


def _unlabelled_is_background(labels: Image.Image, name: str) -> NDArray[np.int64]:
    levels_HW = grey_levels(labels, name)
    return np.where(levels_HW == 255, 0, levels_HW)


def _things_first(labels: Image.Image, name: str) -> NDArray[np.int64]:
    levels_HW = grey_levels(labels, name)
    return np.where(levels_HW < COCO_THINGS, levels_HW + 1, 0)


def _coco_table(*, objects: bool) -> NDArray[np.int64]:
    """Return the table from levels of the published pixel maps (id − 1) to labels."""
    unlabelled = 0 if objects else IGNORED
    table_V = np.full(256, unlabelled, np.int64)
    ids = [number for number in range(1, 183) if number not in COCO_GAPS]
    for label, number in enumerate(ids):
        if not objects:
            table_V[number - 1] = label
        elif label < COCO_THINGS:
            table_V[number - 1] = label + 1
    return table_V


def _ade20k(folder: Path, split: str) -> SegmentationDataset:
    name = {"val": "validation", "train": "training"}[split]
    root = _find_root(folder, "annotations", name)
    files = sorted((root / "annotations" / name).glob("*.png"))
    entries = (entry_of_files(file.stem, root / "images" / name / f"{file.stem}.jpg", file) for file in files)
    return _dataset("ade20k", split, root, entries, from_one)


def _cityscapes(folder: Path, split: str) -> SegmentationDataset:
    root = _find_root(folder, "leftImg8bit", split)
    images = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    entries = []
    for image in images:
        key = image.stem.removesuffix("_leftImg8bit")
        labels = root / "gtFine" / split / image.parent.name / f"{key}_gtFine_labelTrainIds.png"
        entries.append(entry_of_files(key, image, labels))
    if entries and not Path(entries[0].labels_name).exists():
        raise DatasetError(
            f"there is no {entries[0].labels_name}: train ids are made from the published polygons by "
            "csCreateTrainIdLabelImgs of cityscapesscripts"
        )
    return _dataset("cityscapes", split, root, entries, ignoring(255))


def _imagenet_s(folder: Path, split: str) -> SegmentationDataset:
    name = {"val": "validation", "train": "train-semi"}[split]
    root = _find_root(folder, f"{name}-segmentation")
    files = sorted((root / f"{name}-segmentation").glob("*/*.png"))
    entries = (
        entry_of_files(file.stem, root / name / file.parent.name / f"{file.stem}.JPEG", file)
        for file in files
    )
    return _dataset("imagenet_s", split, root, entries, _red_and_green)


def _red_and_green(labels: Image.Image, name: str) -> NDArray[np.int64]:
    if labels.mode != "RGB":
        raise DatasetError(f"{name} has {labels.mode} pixels, but labels of ImageNet-S are red + 256 × green")
    colours_HW3 = np.asarray(labels).astype(np.int64)
    values_HW = colours_HW3[..., 0] + 256 * colours_HW3[..., 1]
    return np.where(values_HW == IMAGENET_S_IGNORED, IGNORED, values_HW)


def _folder(folder: Path, split: str) -> SegmentationDataset:
    """classes.json {"names", "version"}; pictures/KEY.jpg (png, webp), masks/KEY.png, here or in SPLIT/."""
    root = folder / split if (folder / split).is_dir() else folder
    classes = _json(folder / "classes.json")
    names, version = classes.get("names"), classes.get("version", f"classes.json of {folder.name}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise DatasetError(f'{folder / "classes.json"} needs "names", a list of texts in the order of values')
    images = {file.stem: file for file in (root / "pictures").glob("*") if file.suffix in IMAGE_SUFFIXES}
    masks = sorted((root / "masks").glob("*.png"))
    for mask in masks:
        if mask.stem not in images:
            raise DatasetError(f"{mask} has no image {root / 'pictures' / mask.stem}.*")
    entries = (entry_of_files(mask.stem, images[mask.stem], mask) for mask in masks)
    own = ClassNames(version=str(version), names=tuple(names))
    return _dataset("folder", split, root, entries, ignoring(255), own)


def _scenes(folder: Path, split: str) -> SegmentationDataset:
    """Generated scenes as the platform writes them: labels.json, and shards with KEY.jpg and KEY.mask.png."""
    root = folder / split if (folder / split).is_dir() else folder
    if (folder / "classes.json").exists():
        return _folder(folder, split)
    labels = _json(root / "labels.json").get("labels")
    if not isinstance(labels, list):
        raise DatasetError(f'{root / "labels.json"} needs "labels", the names in the order of values')
    entries = [entry for shard in sorted(root.glob("*.tar")) for entry in _shard_entries(shard)]
    names = ClassNames(version=f"scenes, {len(labels)} classes", names=tuple(map(str, labels)))
    return _dataset("scenes", split, root, entries, ignoring(255), names)


def _shard_entries(shard: Path) -> Iterable[Entry]:
    try:
        with tarfile.open(shard) as tar:
            members = {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}
    except (tarfile.TarError, OSError) as error:
        raise DatasetError(f"{shard} is not a tar that can be read: {error}") from error
    for name, location in members.items():
        key, dot, extension = name.partition(".")
        if dot and extension == "mask.png":
            image = next((f"{key}{suffix}" for suffix in IMAGE_SUFFIXES if f"{key}{suffix}" in members), None)
            if image is None:
                raise DatasetError(f"{shard} has {name}, but no image of that key")
            yield Entry(
                key=key,
                image=partial(_part, shard, *members[image]),
                labels=partial(_part, shard, *location),
                image_name=f"{shard}/{image}",
                labels_name=f"{shard}/{name}",
            )


def _part(file: Path, offset: int, size: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _json(file: Path) -> Mapping[str, object]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{file} must be an object")
    return document


def _dataset(
    layout: str,
    split: str,
    folder: Path,
    entries: Iterable[Entry],
    decode: Decode,
    names: ClassNames | None = None,
) -> SegmentationDataset:
    return SegmentationDataset(
        layout=layout, split=split, folder=folder, entries=tuple(entries), decode=decode, names=names
    )


LAYOUTS: Mapping[str, Callable[[Path, str], SegmentationDataset]] = {
    "voc": partial(
        _pascal, lists="Segmentation", labels="SegmentationClass", decode=ignoring(255), layout="voc"
    ),
    "context": partial(
        _pascal,
        lists="SegmentationContext",
        labels="SegmentationClassContext",
        decode=ignoring(255),
        layout="context",
    ),
    "coco_object": partial(_coco, layout="coco_object", objects=True),
    "coco_stuff": partial(_coco, layout="coco_stuff", objects=False),
    "ade20k": _ade20k,
    "cityscapes": _cityscapes,
    "imagenet_s": _imagenet_s,
    "folder": _folder,
    "scenes": _scenes,
}
