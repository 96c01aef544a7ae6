"""A platform folder with a curated synthetic dataset in it: tables and rows, written without an ingest."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlalchemy import update

from benchmarks.synthetic import SyntheticDataset
from cocu.catalog import curations, datasets, models, uploads
from cocu.catalog.samples import NewShard
from cocu.catalog.states import CurationState
from cocu.curation.archives import Ids, Mentions
from cocu.curation.curate import curate
from cocu.curation.parameters import CurationParameters
from cocu.curation.vocabulary import Vocabulary
from cocu.pipeline import ingest_result, planner, submit, submit_uploads
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage import arrays, concept_indexes, content_hash, paths, tables

TENANT = "default"
SHARD = 10_000


def key_of(row: int) -> str:
    """The key of a sample by its global row."""
    return f"folder-{row % 97:02d}/image-{row:08d}"


def fill(folder: Path, dataset: SyntheticDataset, parameters: CurationParameters) -> str:
    """Put the dataset and its curation there; the id of the curation."""
    with Platform.open(Settings(data_folder=folder)) as platform:
        dataset_id = ingest(platform, dataset)
        vocabulary = Vocabulary.from_lines("\n".join(dataset.names), name="synthetic")
        record, _ = platform.vocabularies.add(tenant=TENANT, vocabulary=vocabulary, source="uploaded")
        created = submit.create_curation(
            platform.catalog,
            tenant=TENANT,
            dataset_id=dataset_id,
            encoder="synthetic",
            encoder_hash="0" * 64,
            vocabulary_id=record.id,
            vocabulary_hash=record.hash,
            parameters=asdict(parameters),
            parameters_hash=parameters.hash,
        )
        _curate(platform, created.curation.id, dataset, vocabulary, parameters)
        return created.curation.id


def ingest(platform: Platform, dataset: SyntheticDataset) -> str:
    """Register the samples and write their tables, as `ingest` would; the id of the dataset."""
    catalog = platform.catalog
    dataset_id = datasets.create(catalog, tenant=TENANT, name="synthetic").id
    upload = uploads.register(catalog, tenant=TENANT, dataset_id=dataset_id, name="synthetic.tar")
    _, ((task_id, _),) = submit_uploads.receive_upload(
        catalog, tenant=TENANT, upload_id=upload.id, object_path="none", size=1, sha256="0" * 64
    )
    planner.take(catalog, task_id=task_id, owner="benchmark", lease_seconds=600, max_lost_leases=1)
    shards = []
    for start in range(0, len(dataset.neighbours_NL), SHARD):
        rows = range(start, min(start + SHARD, len(dataset.neighbours_NL)))
        shard = NewShard(
            id=f"shard{start:08d}", keys=tuple(key_of(row) for row in rows), bytes=1, sha256=f"{start:064d}"
        )
        tables.write_table(
            platform.objects, paths.samples(dataset_id, shard.id), _samples(dataset, shard, rows)
        )
        shards.append(shard)
    ingest_result.store_ingested(
        catalog, task_id=task_id, owner="benchmark", upload_id=upload.id, shards=shards, rejected=[]
    )
    return dataset_id


def _samples(dataset: SyntheticDataset, shard: NewShard, rows: range) -> pa.Table:
    offsets, concepts = dataset.mentions.offsets_N1, dataset.mentions.concepts_M
    captions = [
        "a photo of "
        + " and ".join(dataset.names[concept] for concept in concepts[offsets[row] : offsets[row + 1]])
        for row in rows
    ]
    columns: dict[str, list[object]] = {
        "key": [*shard.keys],
        "caption": [*captions],
        "sha256": [hashlib.sha256(key.encode()).digest() for key in shard.keys],
    }
    numbers = {"offset": 512, "size": 30_000, "width": 640, "height": 480}
    columns |= {name: [value] * len(rows) for name, value in numbers.items()}
    return pa.Table.from_pydict(columns, schema=tables.SAMPLES)


def _curate(
    platform: Platform,
    curation_id: str,
    dataset: SyntheticDataset,
    vocabulary: Vocabulary,
    parameters: CurationParameters,
) -> None:
    # A vocabulary is sorted by name, the dataset's concepts are not.
    ids_V = np.array([vocabulary.names.index(name) for name in dataset.names], np.int32)
    totals = {name: np.zeros(len(ids_V), np.int64) for name in ("captions_V", "archives_V", "added_V")}
    hashes = []
    for shard in curations.shards(platform.catalog, curation_id=curation_id):
        rows = np.arange(shard.first_row, shard.first_row + shard.samples)
        table = _archives(dataset, rows, parameters)
        tables.write_table(platform.objects, paths.archives(curation_id, shard.shard_id), table)
        hashes.append(content_hash.content_hash(table))
        curations.store_archives_hash(
            platform.catalog, curation_id=curation_id, shard_id=shard.shard_id, content_hash=hashes[-1]
        )
        mentions = _mentions(dataset.mentions, rows, ids_V)
        arrays.write_mentions(platform.objects, paths.mentions(curation_id, shard.shard_id), mentions)
        index = concept_indexes.build(
            platform.objects,
            curation_id=curation_id,
            shard_id=shard.shard_id,
            content_hash=hashes[-1],
            archives=tables.archives_of(table, vocabulary.names),
            concepts=len(ids_V),
        )
        totals["captions_V"] += index.caption_counts
        totals["archives_V"] += index.archive_counts
        totals["added_V"] += index.added_counts
    arrays.write_arrays(platform.objects, paths.concepts(curation_id), totals)
    curations.store_result(
        platform.catalog,
        curation_id=curation_id,
        content_hash=content_hash.combined_hash(hashes),
        statistics={},
    )
    with platform.catalog.write() as connection:
        connection.execute(
            update(models.Task)
            .where(models.Task.curation_id == curation_id)
            .values(state="done", lease_owner=None)
        )
        connection.execute(
            update(models.Curation)
            .where(models.Curation.id == curation_id)
            .values(state=CurationState.COMPLETED)
        )


def _archives(dataset: SyntheticDataset, rows: Ids, parameters: CurationParameters) -> pa.Table:
    archives = curate(
        mentions=dataset.mentions,
        anchors_B=rows,
        neighbours_BL=dataset.neighbours_NL[rows],
        neighbour_similarities_BL=dataset.similarities_NL[rows],
        images_BD=dataset.images_ND[rows].astype(np.float32),
        concepts_VD=dataset.concepts_VD,
        names=dataset.names,
        parameters=parameters,
    )
    return tables.archives_table(
        archives,
        keys=[key_of(row) for row in rows.tolist()],
        names=dataset.names,
        neighbours_BL=dataset.neighbours_NL[rows],
        neighbour_similarities_BL=dataset.similarities_NL[rows],
    )


def _mentions(mentions: Mentions, rows: Ids, ids_V: np.ndarray) -> Mentions:
    """The mentions of a shard, of concepts as the vocabulary numbers them."""
    first, end = mentions.offsets_N1[rows[0]], mentions.offsets_N1[rows[-1] + 1]
    offsets = mentions.offsets_N1[rows[0] : rows[-1] + 2] - first
    concepts = ids_V[mentions.concepts_M[first:end]]
    order = np.lexsort((concepts, np.repeat(np.arange(len(rows)), np.diff(offsets))))
    return Mentions(offsets, concepts[order], mentions.similarities_M[first:end][order])
