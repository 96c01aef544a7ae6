"""How far a curation is, by stage, and what went wrong in it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from cocu.curation.parameters import CurationParameters
from cocu.errors import NotFoundError
from cocu.storage.catalog import models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import CURATION_STAGES, SHARED_STAGES, ChunkState, Stage


@dataclass(frozen=True)
class StageProgress:
    """One stage: chunks, and the samples in them. Totals are known before the stage begins."""

    stage: str
    total: int
    done: int
    failed: int
    samples_total: int
    samples_done: int


@dataclass(frozen=True)
class ChunkFailure:
    """A chunk that was given up: its stage, the shard (or "all") and why."""

    stage: str
    subject: str
    error: str


@repeated
def of_curation(catalog: Catalog, *, tenant: str, curation_id: str) -> tuple[StageProgress, ...]:
    """The progress of every stage, in their order. Raises NotFoundError without the curation."""
    with catalog.read() as connection:
        statement = select(models.Curation.samples, models.Curation.parameters).where(
            models.Curation.id == curation_id, models.Curation.tenant == tenant
        )
        run = connection.execute(statement).one_or_none()
        if run is None:
            raise NotFoundError(f"no curation {curation_id!r}")
        exactly = CurationParameters(**run.parameters).searches_exactly(run.samples)
        return tuple(
            stage_progress(connection, curation_id=curation_id, stage=stage)
            for stage in CURATION_STAGES
            if not (exactly and stage == Stage.CELLS)
        )


def stage_progress(connection: Connection, *, curation_id: str, stage: Stage) -> StageProgress:
    """The progress of one stage."""
    snapshot = select(func.count(), func.coalesce(func.sum(models.CurationShard.samples), 0)).where(
        models.CurationShard.curation_id == curation_id
    )
    shards, samples = connection.execute(snapshot).one()
    counts = (
        select(models.Chunk.state, func.count(), func.coalesce(func.sum(models.Chunk.units_done), 0))
        .where(in_stage(curation_id, stage))
        .group_by(models.Chunk.state)
    )
    by_state = {state: (int(count), int(units)) for state, count, units in connection.execute(counts)}
    whole = stage in (Stage.CELLS, Stage.GROUP, Stage.PUBLISH)
    return StageProgress(
        stage=stage,
        total=1 if whole else int(shards),
        done=by_state.get(ChunkState.DONE, (0, 0))[0],
        failed=by_state.get(ChunkState.FAILED, (0, 0))[0],
        samples_total=int(samples),
        samples_done=sum(units for _, units in by_state.values()),
    )


@repeated
def done(catalog: Catalog, *, curation_id: str, stage: Stage) -> set[str]:
    """The subjects whose chunk of this stage is done."""
    statement = select(models.Chunk.subject).where(
        in_stage(curation_id, stage), models.Chunk.state == ChunkState.DONE
    )
    with catalog.read() as connection:
        return set(connection.execute(statement).scalars())


@repeated
def indexing_encoders(catalog: Catalog, *, tenant: str, dataset_id: str) -> set[str]:
    """The hashes of the encoders by which at least one shard of a dataset is in the vector store."""
    statement = select(models.Chunk.scope).where(
        models.Chunk.tenant == tenant,
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.stage == Stage.INDEX,
        models.Chunk.state == ChunkState.DONE,
    )
    with catalog.read() as connection:
        return set(connection.execute(statement.distinct()).scalars())


@repeated
def failures(catalog: Catalog, *, curation_id: str) -> list[ChunkFailure]:
    """The chunks that were given up, by stage and shard."""
    with catalog.read() as connection:
        return failed_chunks(connection, curation_id=curation_id)


def failed_chunks(connection: Connection, *, curation_id: str) -> list[ChunkFailure]:
    """The same, inside a transaction."""
    found: list[ChunkFailure] = []
    for stage in CURATION_STAGES:
        statement = (
            select(models.Chunk.subject, models.Chunk.error)
            .where(in_stage(curation_id, stage), models.Chunk.state == ChunkState.FAILED)
            .order_by(models.Chunk.subject)
        )
        found += [
            ChunkFailure(stage=stage, subject=row.subject, error=row.error or "")
            for row in connection.execute(statement)
        ]
    return found


def in_stage(curation_id: str, stage: Stage) -> ColumnElement[bool]:
    """The condition that a chunk belongs to this stage of this curation."""
    if stage not in SHARED_STAGES:
        return and_(models.Chunk.curation_id == curation_id, models.Chunk.stage == stage)
    run = select(models.Curation.dataset_id, models.Curation.encoder_hash).where(
        models.Curation.id == curation_id
    )
    shards = select(models.CurationShard.shard_id).where(models.CurationShard.curation_id == curation_id)
    one = run.subquery()
    return and_(
        models.Chunk.stage == stage,
        models.Chunk.dataset_id == select(one.c.dataset_id).scalar_subquery(),
        models.Chunk.scope == select(one.c.encoder_hash).scalar_subquery(),
        models.Chunk.subject.in_(shards),
    )
