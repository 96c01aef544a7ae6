"""Evaluation of a curation: archives from their tables against the labels of a request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cocu.api.label_matches import count_unmatched, label_map_of, match_labels
from cocu.api.labels import LabelTable
from cocu.api.queries import Samples
from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord
from cocu.curation import metrics
from cocu.curation.labels import LabelMap
from cocu.curation.vocabulary import Vocabulary
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import paths, tables


@dataclass(frozen=True)
class EvaluationResult:
    """The metrics of a curation against labels; `document` is what is stored."""

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
    platform: Platform, samples: Samples, record: CurationRecord, table: LabelTable
) -> EvaluationResult:
    """Evaluate the archives of labelled images, and for comparison their captions alone.

    Names are matched to keys by `match_names`; names without a sample, or with several, are left out and
    counted. Raises InvalidInputError when no name is left, or for an unknown label map.
    """
    table.name_images()
    label_map = label_map_of(table)
    matches = match_labels(table, _keys_of_shards(platform, samples, record))
    if not matches.keys:
        ambiguous = f", and {len(matches.ambiguous):,} could be several" if matches.ambiguous else ""
        raise InvalidInputError(
            f"None of the {len(table):,} labelled keys is in this curation{ambiguous}.",
            {"body": "labels go by the key of a sample or the path of its image, whole or its end"},
        )
    vocabulary = platform.vocabularies.of_hash(record.vocabulary_hash)
    names = {key: name for name, key in matches.keys.items()}
    images = list(_labelled_images(platform, samples, record, vocabulary, table, names))
    rows = _measure(images, vocabulary, label_map)
    document = {
        "images": len(images),
        "images_missing": rows.pop("images_missing"),
        "rows": [rows["caption"], rows["archive"]],
        "details": {
            "labels": len(table),
            **count_unmatched(table, matches),
        },
    }
    if table.annotations_without_category:
        document["details"] |= {"annotations_without_category": table.annotations_without_category}
    return EvaluationResult(labels_hash=table.hash, label_map=label_map.name, document=document)


def _keys_of_shards(platform: Platform, samples: Samples, record: CurationRecord) -> Iterator[list[str]]:
    """Yield the keys of every shard that has archives."""
    for shard in curations.shards(platform.catalog, curation_id=record.id):
        if shard.content_hash is not None:
            yield samples.keys(record.dataset_id, shard.shard_id)


def _labelled_images(
    platform: Platform,
    samples: Samples,
    record: CurationRecord,
    vocabulary: Vocabulary,
    table: LabelTable,
    names: Mapping[str, str],
) -> Iterator[_Image]:
    """Yield the labelled images that have archives, shard by shard: memory does not grow with the dataset."""
    ids = {name: position for position, name in enumerate(vocabulary.names)}
    for shard in curations.shards(platform.catalog, curation_id=record.id):
        if shard.content_hash is None:
            continue
        keys = samples.keys_and_captions(record.dataset_id, shard.shard_id)
        labelled = {
            row: (labels, caption)
            for row, (key, caption) in enumerate(keys)
            if key in names and (labels := table.get(names[key])) is not None
        }
        if not labelled:
            continue
        archives = tables.read_table(
            platform.objects,
            paths.archives(record.id, shard.shard_id),
            columns=("key", "concepts"),
            content_hash=shard.content_hash,
        )
        for row, values in zip(labelled, archives.take(list(labelled)).to_pylist(), strict=True):
            labels, caption = labelled[row]
            yield _Image(
                labels=labels,
                archive=[ids[concept["concept"]] for concept in values["concepts"]],
                caption=vocabulary.match(caption),
            )


def _measure(images: Sequence[_Image], vocabulary: Vocabulary, label_map: LabelMap) -> dict[str, Any]:
    names = sorted({label for image in images for label in image.labels})
    positions = {name: position for position, name in enumerate(names)}
    labels_V = label_map.labels_of_concepts(
        labels=names, concept_count=len(vocabulary.names), find=vocabulary.find
    )
    labels = metrics.RaggedIds.from_lists([[positions[label] for label in image.labels] for image in images])
    captions = metrics.RaggedIds.from_lists([_in_archive_order(image) for image in images])
    archives = metrics.RaggedIds.from_lists([image.archive for image in images])
    rows: dict[str, Any] = {}
    for name, ranked in (("caption", captions), ("archive", archives)):
        quality = metrics.evaluate(archives=ranked, captions=captions, labels=labels, labels_V=labels_V)
        rows[name] = _row(name, quality)
        rows["images_missing"] = quality.images("missing recall")
    return rows


def _in_archive_order(image: _Image) -> list[int]:
    """Return the caption's concepts in the archive's order, so that only added concepts make a difference."""
    ranks = {concept: rank for rank, concept in enumerate(image.archive)}
    return sorted(image.caption, key=lambda concept: (ranks.get(concept, len(ranks)), concept))


def _row(name: str, quality: metrics.Quality) -> dict[str, Any]:
    means = {metric: None if math.isnan(mean) else mean for metric, mean in quality.means().items()}
    return {"name": name, "metrics": means}
