"""Records of the catalog as the wire models say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cocu.client import models
from cocu.client.transport import segment
from cocu.curation.phrases import Phrase
from cocu.datasets.columns import Columns
from cocu.datasets.formats import Format
from cocu.datasets.options import CaptionChoice, ReadOptions
from cocu.encoders.offered import Encoders
from cocu.errors import InvalidInputError, NotFoundError
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.datasets import DatasetRecord
from cocu.storage.catalog.evaluations import EvaluationRecord
from cocu.storage.catalog.events import EventRecord
from cocu.storage.catalog.progress import StageProgress
from cocu.storage.catalog.rejections import RejectionRecord
from cocu.storage.catalog.uploads import UploadRecord
from cocu.storage.catalog.vocabularies import VocabularyRecord

THUMBNAIL = 256
"""Pixels of the longer side that links to thumbnails ask for."""


def dataset(record: DatasetRecord) -> models.Dataset:
    """A dataset."""
    return models.Dataset(
        id=record.id,
        name=record.name,
        created_at=record.created_at,
        uploads=record.uploads,
        ingesting=record.ingesting,
        shards=record.shards,
        samples=record.samples,
        bytes=record.bytes,
    )


def upload(record: UploadRecord) -> models.Upload:
    """An upload."""
    return models.Upload.model_validate(
        {
            "name": record.name,
            "dataset": record.dataset_id,
            "state": record.state,
            "ordinal": record.ordinal,
            "bytes": record.bytes,
            "sha256": record.sha256,
            "received": record.received,
            "source": record.source,
            "accepted": record.accepted,
            **(record.reading or {}),
            "detail": record.error,
            "created_at": record.created_at,
        }
    )


def read_options(options: models.UploadOptions, encoders: Encoders) -> ReadOptions:
    """What a caller chose, as the readers take it; an encoder by its hash, which stays what it is.

    Raises InvalidInputError for an encoder that there is not, and for choices that exclude each other.
    """
    encoder = options.encoder
    try:
        encoder = None if encoder is None else encoders.describe(encoder).hash
    except NotFoundError as error:
        raise InvalidInputError("These options cannot be followed.", {"encoder": str(error)}) from error
    columns = Columns(
        key=options.key_column,
        image=options.image_column,
        url=options.url_column,
        caption=options.caption_column,
    )
    return ReadOptions(
        format=None if options.format is None else Format(options.format),
        captions=CaptionChoice(options.captions),
        columns=columns,
        short_side=options.short_side,
        fetch=options.fetch,
        encoder=encoder,
    )


def rejection(record: RejectionRecord, upload_names: Mapping[str, str]) -> models.Rejection:
    """A rejection; uploads are known by name on the wire."""
    return models.Rejection(
        upload=upload_names.get(record.upload_id, ""),
        outcome=record.outcome,
        key=record.key,
        member=record.member,
        reason=record.reason,
        detail=record.detail,
    )


def vocabulary(record: VocabularyRecord, phrases: Sequence[Phrase] = ()) -> models.Vocabulary:
    """A vocabulary; with the phrases it was mined from, where it was mined just now."""
    return models.Vocabulary(
        id=record.id,
        name=record.name,
        version=record.version,
        hash=record.hash,
        source=record.source,
        concepts=record.concepts,
        created_at=record.created_at,
        phrases=[models.Phrase(phrase=each.name, count=each.count) for each in phrases],
    )


def curation(record: CurationRecord, stages: Sequence[StageProgress]) -> models.Curation:
    """A curation with how far it is."""
    return models.Curation.model_validate(
        {
            "id": record.id,
            "dataset": record.dataset_id,
            "snapshot": record.snapshot_hash,
            "samples": record.samples,
            "vocabulary": record.vocabulary_id,
            "encoder": record.encoder,
            "encoder_hash": record.encoder_hash,
            "parameters": record.parameters,
            "state": record.state,
            "stages": [
                {
                    "stage": each.stage,
                    "done": each.done,
                    "total": each.total,
                    "failed": each.failed,
                    "samples_done": each.samples_done,
                    "samples_total": each.samples_total,
                }
                for each in stages
            ],
            "statistics": record.statistics,
            "content_hash": record.content_hash,
            "detail": record.error,
            "created_at": record.created_at,
            "finished_at": record.finished_at,
        }
    )


def has_ended(record: CurationRecord) -> bool:
    """Whether nothing more will happen to a curation by itself."""
    return record.state in models.FINISHED


def event(record: EventRecord) -> models.CurationEvent:
    """An event of a curation."""
    return models.CurationEvent(id=record.id, at=record.created_at, kind=record.kind, data=record.data)


def evaluation(record: EvaluationRecord) -> models.Evaluation:
    """An evaluation."""
    return models.Evaluation.model_validate(
        {
            **record.metrics,
            "id": record.id,
            "curation": record.curation_id,
            "label_map": record.parameters.get("label_map"),
            "created_at": record.created_at,
        }
    )


def image_path(dataset_id: str, key: str) -> str:
    """Path of a sample's image."""
    return f"/v1/datasets/{segment(dataset_id)}/samples/{segment(key)}/image"


def thumbnail_path(dataset_id: str, key: str) -> str:
    """Path of a small version of a sample's image."""
    return f"{image_path(dataset_id, key)}?size={THUMBNAIL}"
