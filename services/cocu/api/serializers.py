"""Wire models from records of the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cocu import schemas
from cocu.api.locations import link
from cocu.catalog.curations import CurationRecord
from cocu.catalog.datasets import DatasetRecord
from cocu.catalog.evaluations import EvaluationRecord
from cocu.catalog.events import EventRecord, TenantEventRecord
from cocu.catalog.label_sets import LabelSetRecord
from cocu.catalog.rejections import RejectionRecord
from cocu.catalog.uploads import UploadRecord
from cocu.catalog.vocabularies import VocabularyRecord
from cocu.client.transport import segment
from cocu.curation.phrase_mining import Phrase
from cocu.encoders.registry import EncoderRegistry
from cocu.errors import InvalidInputError, NotFoundError
from cocu.formats.columns import Columns
from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.pipeline.failed_tasks import FailedTaskRecord
from cocu.pipeline.progress import StageProgress
from cocu.pipeline.speed import Speed
from cocu.pipeline.stages import WHOLE_CURATION
from cocu.sources import redact

THUMBNAIL: Final[schemas.ThumbnailSize] = 256
"""Pixels of the longer side of linked thumbnails."""


def dataset(record: DatasetRecord) -> schemas.Dataset:
    """Return a dataset."""
    return schemas.Dataset(
        id=record.id,
        name=record.name,
        created_at=record.created_at,
        uploads=record.uploads,
        ingesting=record.ingesting,
        receiving=record.receiving,
        failed=record.failed,
        shards=record.shards,
        samples=record.samples,
        bytes=record.bytes,
    )


def upload(record: UploadRecord) -> schemas.Upload:
    """Return an upload."""
    return schemas.Upload.model_validate(
        {
            "name": record.name,
            "dataset": record.dataset_id,
            "state": record.state,
            "ordinal": record.ordinal,
            "bytes": record.bytes,
            "sha256": record.sha256,
            "received": record.received,
            "source": None if record.source is None else redact(record.source),
            "accepted": record.accepted,
            **(record.reading or {}),
            "detail": record.error,
            "created_at": record.created_at,
        }
    )


def read_options(options: schemas.UploadOptions, encoders: EncoderRegistry) -> ReadOptions:
    """Return the options of a request for the readers; the encoder by its hash, because names may change.

    Raises InvalidInputError for an unknown encoder, and for options that exclude each other.
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
        format=options.format,
        captions=CaptionChoice(options.captions),
        columns=columns,
        short_side=options.short_side,
        fetch=options.fetch,
        encoder=encoder,
    )


def rejection(record: RejectionRecord, upload_names: Mapping[str, str]) -> schemas.Rejection:
    """Return a rejection; it has the name of the upload in place of its id."""
    return schemas.Rejection(
        upload=upload_names.get(record.upload_id, ""),
        outcome=record.outcome,
        key=record.key,
        member=record.member,
        reason=record.reason,
        detail=record.detail,
    )


def vocabulary(record: VocabularyRecord, phrases: Sequence[Phrase] = ()) -> schemas.Vocabulary:
    """Return a vocabulary; with its phrases, if it was just mined."""
    return schemas.Vocabulary(
        id=record.id,
        name=record.name,
        version=record.version,
        hash=record.hash,
        source=record.source,
        concepts=record.concepts,
        created_at=record.created_at,
        phrases=[schemas.Phrase(phrase=phrase.name, count=phrase.count) for phrase in phrases],
    )


def curation(
    record: CurationRecord, stages: Sequence[StageProgress], speed: Speed | None = None
) -> schemas.Curation:
    """Return a curation with its progress; speed: of its present stage, None when it has ended."""
    is_active = not has_ended(record)
    present = next((stage for stage in stages if is_active and stage.stage == record.stage), None)
    return schemas.Curation.model_validate(
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
                    "stage": stage.stage,
                    "done": stage.done,
                    "total": stage.total,
                    "failed": stage.failed,
                    "samples_done": stage.samples_done,
                    "samples_total": stage.samples_total,
                }
                for stage in stages
            ],
            "stage": record.stage if is_active else None,
            "samples_done": None if present is None else present.samples_done,
            "per_second": None if speed is None else speed.per_second,
            "remaining_seconds": None if speed is None else speed.remaining_seconds,
            "statistics": record.statistics,
            "left_out": record.left_out or {},
            "threshold": record.threshold,
            "content_hash": record.content_hash,
            "detail": record.error,
            "created_at": record.created_at,
            "finished_at": record.finished_at,
        }
    )


def has_ended(record: CurationRecord) -> bool:
    """Whether a curation has ended; only a new request can start it again."""
    return record.state in schemas.FINISHED


def event(record: EventRecord) -> schemas.CurationEvent:
    """Return an event of a curation."""
    return schemas.CurationEvent(id=record.id, at=record.created_at, kind=record.kind, data=record.data)


def platform_event(record: TenantEventRecord) -> schemas.PlatformEvent:
    """Return an event of a tenant."""
    return schemas.PlatformEvent(
        id=record.id,
        at=record.created_at,
        kind=record.kind,
        curation=record.curation_id,
        dataset=record.dataset_id,
        data=record.data,
    )


def failure(record: FailedTaskRecord) -> schemas.TaskFailure:
    """Return a task that failed."""
    return schemas.TaskFailure(
        stage=record.stage,
        shard=None if record.target == WHOLE_CURATION else record.target,
        given_up=record.given_up,
        attempts=record.attempts,
        reason=record.reason,
        next_attempt=record.next_attempt,
    )


def evaluation(record: EvaluationRecord) -> schemas.Evaluation:
    """Return an evaluation."""
    return schemas.Evaluation.model_validate(
        {
            **record.metrics,
            "id": record.id,
            "curation": record.curation_id,
            "label_map": record.parameters.get("label_map"),
            "created_at": record.created_at,
        }
    )


def label_set(record: LabelSetRecord) -> schemas.LabelSet:
    """Return labels that a dataset keeps."""
    counts = record.counts
    return schemas.LabelSet(
        dataset=record.dataset_id,
        name=record.name,
        hash=record.hash,
        label_map=record.label_map,
        images=record.images,
        classes=record.classes,
        matched=counts["matched"],
        without_sample=counts["labels_without_sample"],
        ambiguous=counts["labels_ambiguous"],
        not_matched=[*counts["without_sample"], *counts["ambiguous"]],
        created_at=record.created_at,
    )


def image_path(dataset_id: str, key: str) -> str:
    """Return the path of a sample's image, relative to the path of the current request."""
    return link(f"/v1/datasets/{segment(dataset_id)}/samples/{segment(key)}/image")


def thumbnail_path(dataset_id: str, key: str) -> str:
    """Return the path of a sample's thumbnail, relative to the path of the current request."""
    return f"{image_path(dataset_id, key)}?size={THUMBNAIL}"
