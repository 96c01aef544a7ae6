"""The commands that insert the rows of a request and plan its first tasks, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from cocu.catalog import (
    curations,
    datasets,
    events,
    failed_rows,
    models,
    omissions,
    tasks,
    vocabularies,
)
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_all, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.samples import ShardRecord
from cocu.catalog.states import (
    ACTIVE_CURATIONS,
    CurationState,
    DatasetState,
    EventKind,
    Stage,
    UploadState,
)
from cocu.catalog.tasks import TaskRef
from cocu.catalog.vocabularies import VocabularyRecord
from cocu.curation.parameters import CurationParameters
from cocu.encoders.registry import EncoderDescription
from cocu.errors import ConflictError, NotFoundError
from cocu.pipeline import planner, stages


@dataclass(frozen=True)
class Choice:
    """The checked choices of a request."""

    encoder: EncoderDescription
    vocabulary: VocabularyRecord
    parameters: CurationParameters


@dataclass(frozen=True)
class Created:
    """A curation, whether this request created it, and the tasks to enqueue."""

    curation: CurationRecord
    new: bool
    tasks: tuple[TaskRef, ...]


def snapshot_hash(shards: Sequence[str]) -> str:
    """Return the hash of a snapshot, from its shards' hashes in order; it is the same in any dataset."""
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()


def identity(
    *,
    dataset_id: str,
    snapshot: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters_hash: str,
    revisions: Mapping[str, int] | None = None,
) -> str:
    """Return the id of a curation: a hash of everything its result depends on, and of its dataset.

    revisions: how often samples of a shard were embedded again, for the shards where that happened.
    """
    reembedded = [f"{shard} {revision}" for shard, revision in sorted((revisions or {}).items())]
    document = "\n".join((dataset_id, snapshot, encoder_hash, vocabulary_hash, parameters_hash, *reembedded))
    return hashlib.sha256(document.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CurationPlan:
    """The curation that a request would create now; `existing` if it was created before."""

    curation_id: str
    existing: CurationRecord | None
    snapshot: str
    shards: tuple[ShardRecord, ...]
    revisions: Mapping[str, int]

    def shard_records(self) -> list[CurationShardRecord]:
        """Return the rows of the snapshot's shards as they will be stored."""
        rows: list[CurationShardRecord] = []
        first_row = 0
        for ordinal, shard in enumerate(self.shards):
            row = CurationShardRecord(
                shard_id=shard.id,
                ordinal=ordinal,
                first_row=first_row,
                samples=shard.samples,
                sha256=shard.sha256,
                revision=self.revisions.get(shard.id, 0),
                usable=False,
                content_hash=None,
            )
            rows.append(row)
            first_row += shard.samples
        return rows


def plan_curation(
    connection: Connection,
    *,
    dataset_id: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters_hash: str,
) -> CurationPlan:
    """Return the curation of the present content of a dataset with these choices.

    Raises ConflictError as `create_curation`.
    """
    shards = _snapshot(connection, dataset_id=dataset_id)
    snapshot = snapshot_hash([shard.sha256 for shard in shards])
    known_revisions = failed_rows.revisions(connection, dataset_id=dataset_id, encoder_hash=encoder_hash)
    revisions = {shard.id: known_revisions[shard.id] for shard in shards if shard.id in known_revisions}
    curation_id = identity(
        dataset_id=dataset_id,
        snapshot=snapshot,
        encoder_hash=encoder_hash,
        vocabulary_hash=vocabulary_hash,
        parameters_hash=parameters_hash,
        revisions=revisions,
    )
    existing = curations.find(connection, curation_id)
    return CurationPlan(curation_id, existing, snapshot, tuple(shards), revisions)


@retry_on_outage
def create_curation(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    encoder: str,
    encoder_hash: str,
    vocabulary_id: str,
    vocabulary_hash: str,
    parameters: dict[str, Any],
    parameters_hash: str,
) -> Created:
    """Create the curation of the present content of a dataset; the same request returns the same curation.

    A curation that failed, was cancelled or completed with errors is started again. Raises NotFoundError if
    the dataset does not exist, ConflictError while uploads are being ingested or samples embedded again, if
    no sample was accepted, or if the vocabulary does not exist.
    """
    with catalog.write() as connection:
        _require_dataset(connection, tenant=tenant, dataset_id=dataset_id)
        if not vocabularies.lock(connection, tenant=tenant, vocabulary_id=vocabulary_id):
            raise ConflictError("the vocabulary was deleted meanwhile; choose another")
        plan = plan_curation(
            connection,
            dataset_id=dataset_id,
            encoder_hash=encoder_hash,
            vocabulary_hash=vocabulary_hash,
            parameters_hash=parameters_hash,
        )
        curation_id, existing = plan.curation_id, plan.existing
        left_out = omissions.find(connection, dataset_id)
        if existing is not None and existing.state in (*ACTIVE_CURATIONS, CurationState.COMPLETED):
            omissions.note(connection, curation_id, left_out)
            return Created(curation=replace(existing, left_out=left_out), new=False, tasks=())
        if existing is None:
            values: dict[str, Any] = {
                "id": curation_id,
                "tenant": tenant,
                "dataset_id": dataset_id,
                "snapshot_hash": plan.snapshot,
            }
            values |= {"samples": sum(shard.samples for shard in plan.shards), "encoder": encoder}
            values |= {"encoder_hash": encoder_hash, "vocabulary_id": vocabulary_id}
            values |= {"vocabulary_hash": vocabulary_hash, "parameters_hash": parameters_hash}
            values |= {"state": CurationState.QUEUED, "stage": stages.first().name}
            connection.execute(insert(models.Curation).values(**values, parameters=parameters))
            rows = [
                {"curation_id": curation_id, "tenant": tenant} | asdict(shard)
                for shard in plan.shard_records()
            ]
            connection.execute(insert(models.CurationShard), rows)
        else:
            _reset_run(connection, curation_id)
        omissions.note(connection, curation_id, left_out)
        state = {"state": CurationState.QUEUED}
        events.add(connection, tenant=tenant, curation_id=curation_id, kind=EventKind.STATE, data=state)
        task_refs = planner.begin(connection, curation_id=curation_id)
        record = curations.find(connection, curation_id)
    assert record is not None
    return Created(curation=record, new=existing is None, tasks=tuple(task_refs))


@retry_on_outage
def delete_dataset(catalog: Catalog, *, tenant: str, dataset_id: str) -> list[TaskRef]:
    """Hide the dataset, cancel its curations and plan its deletion; return the tasks to enqueue.

    Raises NotFoundError if the tenant has no such dataset.
    """
    with catalog.write() as connection:
        hide = (
            update(models.Dataset)
            .where(*datasets.visible(tenant), models.Dataset.id == dataset_id)
            .values(state=DatasetState.DELETING)
        )
        if connection.execute(hide).rowcount == 0:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        connection.execute(
            update(models.Curation)
            .where(models.Curation.dataset_id == dataset_id, models.Curation.state.in_(ACTIVE_CURATIONS))
            .values(state=CurationState.CANCELLED)
        )
        return tasks.enqueue(
            connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.DELETE, target=dataset_id
        )


def _require_dataset(connection: Connection, *, tenant: str, dataset_id: str) -> None:
    state = datasets.lock(connection, dataset_id=dataset_id)
    owner = connection.execute(select(models.Dataset.tenant).where(models.Dataset.id == dataset_id))
    if state != DatasetState.ACTIVE or owner.scalar_one_or_none() != tenant:
        raise NotFoundError(f"no dataset {dataset_id!r}")


def _snapshot(connection: Connection, *, dataset_id: str) -> list[ShardRecord]:
    unfinished_upload = select(models.Upload.name).where(
        models.Upload.dataset_id == dataset_id, models.Upload.state == UploadState.RECEIVED
    )
    name = connection.execute(unfinished_upload.limit(1)).scalar_one_or_none()
    if name is not None:
        raise ConflictError(f"upload {name!r} is still being ingested; curate the dataset when it is done")
    shards = fetch_all(
        connection,
        ShardRecord,
        select_record(ShardRecord, models.Shard)
        .where(models.Shard.dataset_id == dataset_id)
        .order_by(models.Shard.upload_ordinal, models.Shard.number),
    )
    if not shards:
        raise ConflictError(
            "the dataset has no accepted samples, so there is nothing to curate; see its report"
        )
    return shards


def _reset_run(connection: Connection, curation_id: str) -> None:
    connection.execute(delete(models.Task).where(models.Task.curation_id == curation_id))
    connection.execute(
        update(models.CurationShard)
        .where(models.CurationShard.curation_id == curation_id)
        .values(usable=False, content_hash=None)
    )
    initial: dict[str, Any] = {
        "state": CurationState.QUEUED,
        "stage": stages.first().name,
        "content_hash": None,
    }
    initial |= {"statistics": None, "error": None, "started_at": None, "finished_at": None}
    connection.execute(update(models.Curation).where(models.Curation.id == curation_id).values(initial))
