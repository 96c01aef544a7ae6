"""Chunks: units of work with a lease. What follows from one that ends is decided in `planning`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from cocu.storage.catalog import models
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_one, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import (
    ACTIVE_CURATIONS,
    SHARED_STAGES,
    UNFINISHED_CHUNKS,
    ChunkState,
    DatasetState,
    Stage,
)

Planned = tuple[str, str]
"""(id, stage) of a chunk to put into the queue of its stage, once the transaction is committed."""

RESEND_SECONDS = 10.0
"""How long a message may be on its way to an empty queue; then it is held for lost and sent again."""

LOST_SECONDS = 1_800.0
"""How long it is trusted to lie in a queue that is not empty. Two messages do no harm."""


@dataclass(frozen=True)
class ChunkRecord:
    """One stage of one subject. `scope` is "" for ingest, an encoder hash if shared, else a curation id."""

    id: str
    tenant: str
    dataset_id: str
    scope: str
    stage: str
    subject: str
    curation_id: str | None
    state: str
    attempts: int
    failures: int
    units_total: int
    units_done: int
    asked: bool
    error: str | None


def identity(*, dataset_id: str, scope: str, stage: str, subject: str) -> str:
    """The id of a chunk: the same work is the same chunk, whoever plans it."""
    return hashlib.sha256("\n".join((dataset_id, scope, stage, subject)).encode()).hexdigest()[:32]


def plan(
    connection: Connection,
    *,
    tenant: str,
    dataset_id: str,
    stage: Stage,
    subject: str,
    scope: str = "",
    curation_id: str | None = None,
    units: int = 0,
) -> list[Planned]:
    """Makes sure that this work is pending, running or done; what failed gets a new chance.

    Returns the chunk if it is pending now.

    The caller holds the lock of the dataset, or of the curation for a stage of its own.
    """
    chunk_id = identity(dataset_id=dataset_id, scope=scope, stage=stage, subject=subject)
    state = connection.execute(
        select(models.Chunk.state).where(models.Chunk.id == chunk_id)
    ).scalar_one_or_none()
    if state is None:
        values: dict[str, Any] = {
            "id": chunk_id,
            "tenant": tenant,
            "dataset_id": dataset_id,
            "scope": scope,
            "stage": stage,
        }
        values |= {"subject": subject, "curation_id": curation_id, "units_total": units}
        values |= {"state": ChunkState.PENDING, "lease_until": database_seconds()}
        connection.execute(insert(models.Chunk).values(values))
    elif state in (ChunkState.FAILED, ChunkState.CANCELLED):
        restart(connection, chunk_id=chunk_id)
    return [] if state in (ChunkState.RUNNING, ChunkState.DONE) else [(chunk_id, stage)]


def plan_again(
    connection: Connection, *, tenant: str, dataset_id: str, stage: Stage, subject: str
) -> list[Planned]:
    """As `plan`, also for what was done before."""
    planned = plan(connection, tenant=tenant, dataset_id=dataset_id, stage=stage, subject=subject)
    if planned:
        return planned
    chunk_id = identity(dataset_id=dataset_id, scope="", stage=stage, subject=subject)
    restart(connection, chunk_id=chunk_id)
    return [(chunk_id, stage)]


def restart(connection: Connection, *, chunk_id: str, asked: bool = False) -> None:
    """Makes the chunk pending as if it had never been tried; asked: also where no curation needs it now."""
    values: dict[str, Any] = {"state": ChunkState.PENDING, "attempts": 0, "failures": 0, "units_done": 0}
    values |= {"error": None, "asked": asked}
    values |= {"lease_owner": None, "lease_until": database_seconds(), "not_before": 0.0}
    connection.execute(update(models.Chunk).where(models.Chunk.id == chunk_id).values(values))


def get(connection: Connection, *, chunk_id: str) -> ChunkRecord | None:
    """The chunk, or None when its dataset was deleted."""
    return fetch_one(
        connection, ChunkRecord, select_record(ChunkRecord, models.Chunk).where(models.Chunk.id == chunk_id)
    )


def lease(connection: Connection, *, chunk_id: str, owner: str, seconds: float) -> bool:
    """Takes the chunk if nobody has it; whether that worked. The database's clock tells when leases end."""
    now = database_seconds()
    free = or_(
        and_(models.Chunk.state == ChunkState.PENDING, models.Chunk.not_before <= now),
        and_(models.Chunk.state == ChunkState.RUNNING, models.Chunk.lease_until < now),
    )
    taken = (
        update(models.Chunk)
        .where(models.Chunk.id == chunk_id, free)
        .values(
            state=ChunkState.RUNNING,
            attempts=models.Chunk.attempts + 1,
            lease_owner=owner,
            lease_until=now + seconds,
            leased_at=now,
            units_done=0,
        )
    )
    return connection.execute(taken).rowcount == 1


@repeated
def renew(catalog: Catalog, *, chunk_id: str, owner: str, seconds: float, units_done: int) -> bool:
    """Keeps the lease and notes the progress; False when it was lost or nobody wants the result any more."""
    with catalog.write() as connection:
        renewed = (
            update(models.Chunk)
            .where(*_held(chunk_id, owner))
            .values(lease_until=database_seconds() + seconds, units_done=units_done)
        )
        if connection.execute(renewed).rowcount == 0:
            return False
        chunk = get(connection, chunk_id=chunk_id)
        return chunk is not None and wanted(connection, chunk)


def holds(connection: Connection, *, chunk_id: str, owner: str) -> bool:
    """Whether this owner still has the lease. Locks the chunk until the transaction ends."""
    statement = select(models.Chunk.id).where(*_held(chunk_id, owner)).with_for_update(key_share=True)
    return connection.execute(statement).scalar_one_or_none() is not None


def close(connection: Connection, *, chunk_id: str) -> None:
    """The work is done."""
    connection.execute(
        update(models.Chunk)
        .where(models.Chunk.id == chunk_id)
        .values(
            state=ChunkState.DONE,
            lease_owner=None,
            units_done=models.Chunk.units_total,
            asked=False,
            seconds=database_seconds() - models.Chunk.leased_at,
            error=None,
        )
    )


def wanted(connection: Connection, chunk: ChunkRecord) -> bool:
    """Whether anybody still needs the result: a curation in progress, or the dataset itself."""
    if chunk.stage == Stage.DELETE:
        return True
    if chunk.asked or chunk.stage in (Stage.FETCH, Stage.INGEST):
        statement = select(models.Dataset.id).where(
            models.Dataset.id == chunk.dataset_id, models.Dataset.state == DatasetState.ACTIVE
        )
    elif chunk.stage in SHARED_STAGES:
        statement = (
            select(models.Curation.id)
            .join(models.CurationShard, models.CurationShard.curation_id == models.Curation.id)
            .where(
                models.Curation.dataset_id == chunk.dataset_id,
                models.Curation.encoder_hash == chunk.scope,
                models.Curation.state.in_(ACTIVE_CURATIONS),
                models.CurationShard.shard_id == chunk.subject,
            )
            .limit(1)
        )
    else:
        statement = select(models.Curation.id).where(
            models.Curation.id == chunk.curation_id, models.Curation.state.in_(ACTIVE_CURATIONS)
        )
    return connection.execute(statement).first() is not None


@repeated
def others_running(catalog: Catalog, *, dataset_id: str, but: str) -> bool:
    """Whether a worker holds a live lease on another chunk of the dataset."""
    with catalog.read() as connection:
        statement = select(models.Chunk.id).where(
            models.Chunk.dataset_id == dataset_id,
            models.Chunk.id != but,
            models.Chunk.state == ChunkState.RUNNING,
            models.Chunk.lease_until >= database_seconds(),
        )
        return connection.execute(statement.limit(1)).first() is not None


@repeated
def unfinished(catalog: Catalog) -> int:
    """How many chunks are pending or running, over all tenants."""
    with catalog.read() as connection:
        statement = select(func.count()).where(models.Chunk.state.in_(UNFINISHED_CHUNKS))
        return connection.execute(statement).scalar_one()


@repeated
def sweep(
    catalog: Catalog,
    *,
    queued: Collection[str] = (),
    resend_seconds: float = RESEND_SECONDS,
    limit: int = 1_000,
) -> list[Planned]:
    """(id, stage) of chunks to put into the queue again: abandoned by a worker, or their message is lost.

    queued: the stages whose queues hold messages. A chunk that waits behind others has lost nothing, and its
    message is not to be sent again and again; a queue that has run empty tells sooner what was lost.
    """
    now = database_seconds()
    # Of a running chunk `lease_until` is when its lease ends, of a pending one when its message was sent.
    abandoned = and_(models.Chunk.state == ChunkState.RUNNING, models.Chunk.lease_until < now)
    forgotten = and_(
        models.Chunk.state == ChunkState.PENDING,
        or_(
            and_(models.Chunk.stage.not_in(list(queued)), models.Chunk.lease_until < now - resend_seconds),
            models.Chunk.lease_until < now - LOST_SECONDS,
        ),
    )
    due = (
        select(models.Chunk.id, models.Chunk.stage)
        .where(or_(abandoned, forgotten), models.Chunk.not_before <= now)
        .order_by(models.Chunk.lease_until, models.Chunk.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    with catalog.write() as connection:
        found = [(row.id, row.stage) for row in connection.execute(due)]
        again = {"state": ChunkState.PENDING, "lease_owner": None, "lease_until": now}
        for chunk_id, _ in found:
            connection.execute(update(models.Chunk).where(models.Chunk.id == chunk_id).values(again))
    return found


@repeated
def release_all(catalog: Catalog) -> None:
    """Ends every lease and distrusts every message: right only where no other process has workers."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Chunk)
            .where(models.Chunk.state.in_(UNFINISHED_CHUNKS))
            .values(state=ChunkState.PENDING, lease_owner=None, lease_until=0.0)
        )


@repeated
def held(catalog: Catalog, *, process: str) -> list[tuple[str, str, str]]:
    """(id, stage, owner) of the chunks leased to owners whose names begin with that of a process."""
    with catalog.read() as connection:
        statement = select(models.Chunk.id, models.Chunk.stage, models.Chunk.lease_owner).where(
            models.Chunk.state == ChunkState.RUNNING,
            models.Chunk.lease_owner.startswith(process, autoescape=True),
        )
        return [(row.id, row.stage, row.lease_owner) for row in connection.execute(statement)]


def _held(chunk_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return (
        models.Chunk.id == chunk_id,
        models.Chunk.state == ChunkState.RUNNING,
        models.Chunk.lease_owner == owner,
    )
