"""What follows when a chunk is taken, ends or is given up: decided in the one transaction that says so.

A curation goes through its stages one after the other: whoever finishes the last chunk of a stage plans the
next. `index` runs beside them as soon as a shard is embedded; only `publish` waits for it, until its first
failure, and its failures spoil nothing: it is tried again after the curation has ended.

Locks are always taken in the order dataset, curations by id, chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from cocu.curation.parameters import CurationParameters
from cocu.storage.catalog import chunks, datasets, events, models, progress
from cocu.storage.catalog.clock import database_seconds
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import storable
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import (
    ACTIVE_CURATIONS,
    SHARED_STAGES,
    UNFINISHED_CHUNKS,
    WHOLE,
    ChunkState,
    CurationState,
    EventKind,
    Stage,
    UploadState,
)

Planned = list[chunks.Planned]

FOLLOWING = {
    Stage.EMBED: Stage.NEIGHBOURS,
    Stage.CELLS: Stage.NEIGHBOURS,
    Stage.NEIGHBOURS: Stage.GROUP,
    Stage.GROUP: Stage.CURATE,
    Stage.CURATE: Stage.PUBLISH,
}


@dataclass(frozen=True)
class Taken:
    """A chunk to run, if this worker got it; and chunks to enqueue because this one was given up instead."""

    chunk: chunks.ChunkRecord | None
    planned: tuple[chunks.Planned, ...] = ()


def begin(connection: Connection, *, curation_id: str) -> Planned:
    """Plans the first stage of a curation; the caller holds the lock of its dataset."""
    run = _lock(connection, [curation_id])[0]
    planned: Planned = []
    for shard_id, samples in _shards(connection, curation_id):
        planned += _plan(connection, run, Stage.EMBED, shard_id, samples)
        chunk = chunks.identity(
            dataset_id=run.dataset_id, scope=run.encoder_hash, stage=Stage.EMBED, subject=shard_id
        )
        if _state(connection, chunk) == ChunkState.DONE:
            planned += _plan(connection, run, Stage.INDEX, shard_id, samples)
    return planned + _advance(connection, run)


@repeated
def take(catalog: Catalog, *, chunk_id: str, owner: str, lease_seconds: float, max_lost_leases: int) -> Taken:
    """Leases a chunk to a worker; gives up one whose workers keep vanishing.

    Nothing is taken when another worker has it, it has ended, or nobody wants it any more.
    """
    with catalog.write() as connection:
        chunk = chunks.get(connection, chunk_id=chunk_id)
        if chunk is None:
            return Taken(None)
        runs = _lock_concerned(connection, chunk)
        if not chunks.lease(connection, chunk_id=chunk_id, owner=owner, seconds=lease_seconds):
            return Taken(None)
        if not chunks.wanted(connection, chunk):
            _set_chunk(connection, chunk_id, state=ChunkState.CANCELLED, lease_owner=None)
            return Taken(None)
        lost = chunk.attempts - chunk.failures
        if lost > max_lost_leases and chunk.stage != Stage.DELETE:
            error = f"{lost} workers vanished while they ran it; it may need more memory than they have"
            return Taken(None, tuple(_fail(connection, chunk, runs, error)))
        for run in runs:
            _start(connection, run)
    return Taken(chunk)


@repeated
def finish(catalog: Catalog, *, chunk_id: str, owner: str) -> Planned:
    """The chunk's result is stored: marks it done and plans what follows. Nothing when the lease was lost."""
    with catalog.write() as connection:
        chunk = chunks.get(connection, chunk_id=chunk_id)
        if chunk is None:
            return []
        runs = _lock_concerned(connection, chunk)
        if not chunks.holds(connection, chunk_id=chunk_id, owner=owner):
            return []
        chunks.close(connection, chunk_id=chunk_id)
        planned: Planned = []
        if chunk.stage == Stage.EMBED and runs:
            planned += _plan(connection, runs[0], Stage.INDEX, chunk.subject, chunk.units_total)
        if chunk.stage == Stage.EMBED and chunk.asked:
            planned += _index_again(connection, chunk)
        return planned + _tell(connection, chunk, runs)


@repeated
def give_up(
    catalog: Catalog,
    *,
    chunk_id: str,
    owner: str,
    error: str,
    retry: bool,
    max_failures: int | None,
    retry_seconds: float,
) -> Planned:
    """The chunk ended in an error: it is tried again, or fails for good and the rest goes on without it.

    max_failures: None where it is tried again until it succeeds.
    """
    with catalog.write() as connection:
        chunk = chunks.get(connection, chunk_id=chunk_id)
        if chunk is None:
            return []
        runs = _lock_concerned(connection, chunk)
        if not chunks.holds(connection, chunk_id=chunk_id, owner=owner):
            return []
        failures = chunk.failures + 1
        again = retry and (max_failures is None or failures < max_failures)
        if chunk.stage == Stage.DELETE or again:
            wait = database_seconds() + retry_seconds * 2 ** min(failures - 1, 8)
            values = {"state": ChunkState.PENDING, "lease_owner": None, "failures": failures}
            # No message is on its way: the sweeper sends one when the wait is over.
            _set_chunk(
                connection, chunk_id, **values, not_before=wait, lease_until=0.0, error=storable(error)
            )
            return _go_on_without(connection, chunk, runs) if chunk.stage == Stage.INDEX else []
        _set_chunk(connection, chunk_id, failures=failures)
        return _fail(connection, chunk, runs, error)


def _go_on_without(connection: Connection, chunk: chunks.ChunkRecord, runs: list[Any]) -> Planned:
    """Lets curations go on that an index chunk held up; it stays wanted when they have ended."""
    _set_chunk(connection, chunk.id, asked=True)
    return [each for run in runs for each in _advance(connection, run)]


def _index_again(connection: Connection, chunk: chunks.ChunkRecord) -> Planned:
    """The vectors of a shard that was mended replace those in the vector store."""
    chunk_id = chunks.identity(
        dataset_id=chunk.dataset_id, scope=chunk.scope, stage=Stage.INDEX, subject=chunk.subject
    )
    if _state(connection, chunk_id) is None:
        return []
    chunks.restart(connection, chunk_id=chunk_id, asked=True)
    return [(chunk_id, Stage.INDEX)]


@repeated
def hand_back(catalog: Catalog, *, chunk_id: str, owner: str) -> None:
    """The worker stops, or nobody wants the result: the attempt does not count."""
    with catalog.write() as connection:
        chunk = chunks.get(connection, chunk_id=chunk_id)
        if chunk is None or not chunks.holds(connection, chunk_id=chunk_id, owner=owner):
            return
        state = ChunkState.PENDING if chunks.wanted(connection, chunk) else ChunkState.CANCELLED
        values = {"state": state, "lease_owner": None, "attempts": chunk.attempts - 1}
        _set_chunk(connection, chunk_id, **values, lease_until=0.0)


def _lock(connection: Connection, curation_ids: list[str]) -> list[Any]:
    statement = (
        select(models.Curation.__table__)
        .where(models.Curation.id.in_(curation_ids), models.Curation.state.in_(ACTIVE_CURATIONS))
        .order_by(models.Curation.id)
        .with_for_update(key_share=True)
    )
    return list(connection.execute(statement))


def _lock_concerned(connection: Connection, chunk: chunks.ChunkRecord) -> list[Any]:
    """The curations in progress that need this chunk, locked."""
    if chunk.curation_id is not None:
        return _lock(connection, [chunk.curation_id])
    # The dataset first: what shared chunks and uploads lead to is planned under its lock.
    datasets.lock(connection, dataset_id=chunk.dataset_id)
    if chunk.stage not in SHARED_STAGES:
        return []
    statement = (
        select(models.Curation.id)
        .join(models.CurationShard, models.CurationShard.curation_id == models.Curation.id)
        .where(
            models.Curation.dataset_id == chunk.dataset_id,
            models.Curation.encoder_hash == chunk.scope,
            models.CurationShard.shard_id == chunk.subject,
            models.Curation.state.in_(ACTIVE_CURATIONS),
        )
    )
    return _lock(connection, list(connection.execute(statement).scalars()))


def _shards(connection: Connection, curation_id: str) -> list[tuple[str, int]]:
    statement = (
        select(models.CurationShard.shard_id, models.CurationShard.samples)
        .where(models.CurationShard.curation_id == curation_id)
        .order_by(models.CurationShard.ordinal)
    )
    return [(row.shard_id, row.samples) for row in connection.execute(statement)]


def _state(connection: Connection, chunk_id: str) -> str | None:
    return connection.execute(
        select(models.Chunk.state).where(models.Chunk.id == chunk_id)
    ).scalar_one_or_none()


def _set_chunk(connection: Connection, chunk_id: str, **values: Any) -> None:
    connection.execute(update(models.Chunk).where(models.Chunk.id == chunk_id).values(values))


def _set_run(connection: Connection, run: Any, **values: Any) -> None:
    connection.execute(update(models.Curation).where(models.Curation.id == run.id).values(values))


def _plan(connection: Connection, run: Any, stage: Stage, subject: str, units: int) -> Planned:
    shared = stage in SHARED_STAGES
    return chunks.plan(
        connection,
        tenant=run.tenant,
        dataset_id=run.dataset_id,
        stage=stage,
        subject=subject,
        scope=run.encoder_hash if shared else run.id,
        curation_id=None if shared else run.id,
        units=units,
    )


def _start(connection: Connection, run: Any) -> None:
    if run.state != CurationState.QUEUED:
        return
    _set_run(connection, run, state=CurationState.RUNNING, started_at=database_seconds())
    state = {"state": CurationState.RUNNING}
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STATE, data=state)


def _tell(connection: Connection, chunk: chunks.ChunkRecord, runs: list[Any]) -> Planned:
    """Notes the progress of every curation concerned, and takes each as far as it goes."""
    planned: Planned = []
    for run in runs:
        stage = progress.stage_progress(connection, curation_id=run.id, stage=Stage(chunk.stage))
        data = {"stage": stage.stage, "total": stage.total, "done": stage.done, "failed": stage.failed}
        events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.PROGRESS, data=data)
        planned += _advance(connection, run)
    return planned


def _fail(connection: Connection, chunk: chunks.ChunkRecord, runs: list[Any], error: str) -> Planned:
    _set_chunk(connection, chunk.id, state=ChunkState.FAILED, lease_owner=None, error=storable(error))
    if chunk.stage in (Stage.FETCH, Stage.INGEST):
        # What was fetched in vain may have been sent in meanwhile.
        unfinished = UploadState.RECEIVING if chunk.stage == Stage.FETCH else UploadState.RECEIVED
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == chunk.subject, models.Upload.state == unfinished)
            .values(state=UploadState.FAILED, error=storable(error), finished_at=database_seconds())
        )
    return _tell(connection, chunk, runs)


def _subjects(connection: Connection, run: Any, stage: Stage, state: ChunkState) -> set[str]:
    statement = select(models.Chunk.subject).where(
        progress.in_stage(run.id, stage),
        models.Chunk.state == state,
    )
    return set(connection.execute(statement).scalars())


def _unfinished(connection: Connection, run: Any, stage: Stage, *, untroubled: bool = False) -> bool:
    """Whether chunks of the stage are still to end; untroubled: of those that have not failed before."""
    statement = select(models.Chunk.id).where(
        progress.in_stage(run.id, stage),
        models.Chunk.state.in_(UNFINISHED_CHUNKS),
    )
    if untroubled:
        statement = statement.where(models.Chunk.failures == 0)
    return connection.execute(statement.limit(1)).first() is not None


def _advance(connection: Connection, run: Any) -> Planned:
    """Plans the stage after the current one if that is finished; ends the curation after the last."""
    stage = Stage(
        connection.execute(select(models.Curation.stage).where(models.Curation.id == run.id)).scalar_one()
    )
    if _unfinished(connection, run, stage):
        return []
    done = _subjects(connection, run, stage, ChunkState.DONE)
    if not done:
        return _end(connection, run, CurationState.FAILED)
    if stage == Stage.PUBLISH:
        errors = [
            one for one in progress.failed_chunks(connection, curation_id=run.id) if one.stage != Stage.INDEX
        ]
        return _end(
            connection, run, CurationState.COMPLETED_WITH_ERRORS if errors else CurationState.COMPLETED
        )
    following = _following(run, stage)
    if following == Stage.PUBLISH and _unfinished(connection, run, Stage.INDEX, untroubled=True):
        return []
    if stage == Stage.EMBED:
        connection.execute(
            update(models.CurationShard)
            .where(models.CurationShard.curation_id == run.id, models.CurationShard.shard_id.in_(done))
            .values(usable=True)
        )
    if stage == Stage.CELLS:
        done = _subjects(connection, run, Stage.EMBED, ChunkState.DONE)
    if following == Stage.CURATE:
        done = _subjects(connection, run, Stage.NEIGHBOURS, ChunkState.DONE)
    _set_run(connection, run, stage=following)
    events.add(
        connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STAGE, data={"stage": following}
    )
    if following in (Stage.CELLS, Stage.GROUP, Stage.PUBLISH):
        return _plan(connection, run, following, WHOLE, run.samples)
    planned: Planned = []
    for shard_id, samples in _shards(connection, run.id):
        if shard_id in done:
            planned += _plan(connection, run, following, shard_id, samples)
    return planned


def _following(run: Any, stage: Stage) -> Stage:
    exactly = CurationParameters(**run.parameters).searches_exactly(run.samples)
    return Stage.CELLS if stage == Stage.EMBED and not exactly else FOLLOWING[stage]


def _end(connection: Connection, run: Any, state: CurationState) -> Planned:
    failed = [
        one for one in progress.failed_chunks(connection, curation_id=run.id) if one.stage != Stage.INDEX
    ]
    error = "; ".join(f"{one.stage} of {one.subject}: {one.error}" for one in failed) or None
    _set_run(
        connection,
        run,
        state=state,
        error=None if error is None else storable(error),
        finished_at=database_seconds(),
    )
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=EventKind.STATE, data={"state": state})
    return []
