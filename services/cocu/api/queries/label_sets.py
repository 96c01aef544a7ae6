"""Labels that a dataset keeps: read as those of an evaluation are, matched with its samples, stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import IO

from cocu.api.label_matches import classes_of, count_unmatched, label_map_of, match_labels
from cocu.api.labels import LabelTable
from cocu.api.queries.samples import Samples
from cocu.catalog import datasets, label_sets, samples
from cocu.catalog.curations import CurationRecord
from cocu.catalog.label_sets import LabelSetRecord
from cocu.catalog.records import new_id
from cocu.curation.labels import LabelMap
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import paths


def keep(
    platform: Platform, samples_: Samples, *, tenant: str, dataset: str, name: str, body: IO[bytes]
) -> tuple[LabelSetRecord, bool]:
    """Keep the labels of a request under a name; return them, and whether there were none of this name.

    The document is stored piece by piece; in memory are the names that could match a sample. The time grows
    with the labels and with the keys of the dataset. Raises NotFoundError without the dataset,
    BadRequestError and InvalidInputError as `LabelTable.read`, and for an unknown label map.
    """
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    with LabelTable(platform.settings.data_folder) as table:
        table.read(body)
        if table.kept is not None:
            raise InvalidInputError(
                "These labels are kept already.", {"body.kept": "send labels or instances to keep them"}
            )
        table.name_images()
        label_map = label_map_of(table)
        # From here on the map is named, so that the stored document needs not say that it was a COCO file.
        table.label_map = None if label_map.name == LabelMap.by_name().name else label_map.name
        classes = classes_of(table)
        digest = hashlib.sha256(f"{table.hash} {table.label_map}".encode()).hexdigest()
        matches = match_labels(table, _keys_of_shards(platform, samples_, tenant, dataset))
        counts = {
            "matched": len(matches.keys),
            "annotations_without_category": table.annotations_without_category,
            **count_unmatched(table, matches),
        }
        stored = platform.objects.put_chunks(paths.labels(dataset, new_id()), table.document())
        try:
            record, before = label_sets.store(
                platform.catalog,
                tenant=tenant,
                dataset_id=dataset,
                name=name,
                hash=digest,
                document=stored.path,
                sha256=stored.sha256,
                label_map=table.label_map,
                images=len(table),
                classes=len(classes),
                counts=counts,
            )
        except NotFoundError:
            platform.objects.delete(stored.path)
            raise
    if before is not None:
        _delete(platform, before)
    return record, before is None


def remove(platform: Platform, *, tenant: str, dataset: str, name: str) -> None:
    """Forget labels, and every verdict by them; nothing happens where there are none of this name.

    Raises NotFoundError without the dataset.
    """
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    record = label_sets.remove(platform.catalog, tenant=tenant, dataset_id=dataset, name=name)
    if record is not None:
        _delete(platform, record)


def find(platform: Platform, record: CurationRecord, name: str, *, field: str) -> LabelSetRecord:
    """Return labels that the dataset of a curation keeps.

    Raises InvalidInputError, which names the field, where it keeps none of this name.
    """
    try:
        return label_sets.get(platform.catalog, tenant=record.tenant, dataset_id=record.dataset_id, name=name)
    except NotFoundError as error:
        raise InvalidInputError(
            "The dataset keeps no labels of this name.",
            {field: "list them with GET /v1/datasets/{id}/labels"},
        ) from error


def read_into(platform: Platform, table: LabelTable, record: LabelSetRecord) -> None:
    """Read kept labels into an empty table; a label map that the table has already stays.

    Raises NotFoundError where they were deleted meanwhile.
    """
    chosen = table.label_map
    with platform.objects.local_path(record.document).open("rb") as document:
        table.read(document)
    table.label_map = chosen if chosen is not None else table.label_map
    table.annotations_without_category = record.counts["annotations_without_category"]


def _delete(platform: Platform, record: LabelSetRecord) -> None:
    """Delete the document of labels that are not kept any more, and what was computed from them."""
    platform.objects.delete(record.document)
    if label_sets.is_kept(platform.catalog, dataset_id=record.dataset_id, hash=record.hash):
        return
    for curation in datasets.curations_of(platform.catalog, dataset_id=record.dataset_id):
        platform.objects.delete_prefix(paths.verdict_folder(curation, record.hash))


def _keys_of_shards(platform: Platform, samples_: Samples, tenant: str, dataset: str) -> Iterator[list[str]]:
    for shard in samples.shards(platform.catalog, tenant=tenant, dataset_id=dataset):
        yield samples_.keys(dataset, shard.id)
