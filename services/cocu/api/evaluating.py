"""Measuring a curation: labels from the wire, archives from their tables, metrics from `curation.quality`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cocu.api.reading import Samples
from cocu.client import models
from cocu.curation import quality
from cocu.curation.labels import LabelMap
from cocu.curation.vocabulary import Vocabulary
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import paths, tables
from cocu.storage.catalog import curations
from cocu.storage.catalog.curations import CurationRecord

LABELS_OF_COCO = "coco"


@dataclass(frozen=True)
class Measured:
    """The metrics of a curation against some labels; `document` is what is kept of them."""

    labels_hash: str
    label_map: str
    document: dict[str, Any]


@dataclass(frozen=True)
class _Image:
    """One labelled image: its labels, the concepts of its archive by rank, and those its caption names."""

    labels: Sequence[str]
    archive: Sequence[int]
    caption: Sequence[int]


def evaluate(
    platform: Platform, samples: Samples, record: CurationRecord, request: models.EvaluationCreate
) -> Measured:
    """Measure the archives of labelled images, and their captions alone beside them.

    Images whose key the curation does not have are left out and counted. Raises InvalidInputError when none
    is left, or for an unknown label map.
    """
    table = label_table(request)
    label_map = _label_map(request)
    vocabulary = platform.vocabularies.of_hash(record.vocabulary_hash)
    images = list(_labelled_images(platform, samples, record, vocabulary, table))
    if not images:
        raise InvalidInputError(
            f"None of the {len(table):,} labelled keys is in this curation.",
            {"body": "keys are those of the samples; of COCO files, the file names without ending"},
        )
    rows = _measure(images, vocabulary, label_map)
    document = {
        "images": len(images),
        "images_missing": rows.pop("images_missing"),
        "rows": [rows["caption"], rows["archive"]],
        "details": {"labels_without_sample": len(table) - len(images)},
    }
    return Measured(labels_hash=_hash(table), label_map=label_map.name, document=document)


def label_table(request: models.EvaluationCreate) -> dict[str, list[str]]:
    """Sample key → its labels, each once and sorted; images without labels are left out."""
    if request.instances is not None:
        raw: Mapping[str, Sequence[str]] = _of_coco(request.instances)
    else:
        raw = request.labels or {}
    return {key: sorted(set(labels)) for key, labels in raw.items() if labels}


def _of_coco(instances: models.CocoInstances) -> dict[str, list[str]]:
    keys = {image.id: PurePosixPath(image.file_name).stem for image in instances.images}
    names = {category.id: category.name for category in instances.categories}
    labels: dict[str, list[str]] = {}
    for annotation in instances.annotations:
        if annotation.image_id not in keys or annotation.category_id not in names:
            raise InvalidInputError(
                "The COCO file contradicts itself.",
                {
                    "body.instances.annotations": f"image {annotation.image_id} or category "
                    f"{annotation.category_id} of an annotation is not listed"
                },
            )
        labels.setdefault(keys[annotation.image_id], []).append(names[annotation.category_id])
    return labels


def _label_map(request: models.EvaluationCreate) -> LabelMap:
    name = request.label_map
    if name is None and request.instances is not None:
        name = LABELS_OF_COCO
    if name is None:
        return LabelMap.by_name()
    try:
        return LabelMap.shipped(name)
    except ValueError as error:
        raise InvalidInputError("The label map is not known.", {"body.label_map": str(error)}) from error


def _labelled_images(
    platform: Platform,
    samples: Samples,
    record: CurationRecord,
    vocabulary: Vocabulary,
    table: Mapping[str, Sequence[str]],
) -> Iterator[_Image]:
    """The labelled images that have archives, shard by shard: memory does not grow with the dataset."""
    ids = {name: position for position, name in enumerate(vocabulary.names)}
    for shard in curations.shards(platform.catalog, curation_id=record.id):
        if shard.content_hash is None:
            continue
        keys = samples.keys_and_captions(record.dataset_id, shard.shard_id)
        wanted = {row: (key, caption) for row, (key, caption) in enumerate(keys) if key in table}
        if not wanted:
            continue
        archives = tables.read_table(
            platform.objects, paths.archives(record.id, shard.shard_id), columns=("key", "concepts")
        )
        for row, values in zip(wanted, archives.take(list(wanted)).to_pylist(), strict=True):
            key, caption = wanted[row]
            yield _Image(
                labels=table[key],
                archive=[ids[concept["concept"]] for concept in values["concepts"]],
                caption=vocabulary.match(caption),
            )


def _measure(images: Sequence[_Image], vocabulary: Vocabulary, label_map: LabelMap) -> dict[str, Any]:
    names = sorted({label for image in images for label in image.labels})
    positions = {name: position for position, name in enumerate(names)}
    labels_V = label_map.labels_of_concepts(
        labels=names, concept_count=len(vocabulary.names), find=vocabulary.find
    )
    labels = quality.Lists.of([[positions[label] for label in image.labels] for image in images])
    captions = quality.Lists.of([_in_archive_order(image) for image in images])
    archives = quality.Lists.of([image.archive for image in images])
    rows: dict[str, Any] = {}
    for name, ranked in (("caption", captions), ("archive", archives)):
        found = quality.evaluate(archives=ranked, captions=captions, labels=labels, labels_V=labels_V)
        rows[name] = _row(name, found)
        rows["images_missing"] = found.images("missing recall")
    return rows


def _in_archive_order(image: _Image) -> list[int]:
    """The caption's concepts ranked as the archive ranks them: only what it adds makes a difference."""
    ranks = {concept: rank for rank, concept in enumerate(image.archive)}
    return sorted(image.caption, key=lambda concept: (ranks.get(concept, len(ranks)), concept))


def _row(name: str, found: quality.Quality) -> dict[str, Any]:
    means = {metric: None if math.isnan(mean) else mean for metric, mean in found.means().items()}
    return {"name": name, "metrics": means}


def _hash(table: Mapping[str, Sequence[str]]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
