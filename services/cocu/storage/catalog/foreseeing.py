"""What a curation would be and what is there of it already, without starting it; how fast stages were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cocu.curation.parameters import CurationParameters
from cocu.storage.catalog import curations, datasets, models
from cocu.storage.catalog.curations import Ahead, CurationRecord
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_all, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import SHARED_STAGES, ChunkState, CurationState, Stage

MOST_RUNS = 20


@dataclass(frozen=True)
class Rate:
    """Seconds of one worker for a unit of work, and the samples from which that is known.

    The unit is a sample, but of an exact search for neighbours a pair of samples.
    """

    seconds: float
    samples: int


@dataclass(frozen=True)
class Foreseen:
    """A curation that might be created: what there is of it, by stage and shard, and the rates of stages."""

    ahead: Ahead
    there: Mapping[str, frozenset[str]]
    rates: Mapping[str, Rate]
    exactly: bool
    """Whether every pair of samples is compared in search of neighbours."""
    like: CurationRecord | None
    """The last completed curation with this encoder, whose files tell how large files get."""


@repeated
def foresee(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    encoder_hash: str,
    vocabulary_hash: str,
    parameters: CurationParameters,
) -> Foreseen:
    """What `curations.create` would create now. Raises NotFoundError and ConflictError as that does."""
    datasets.get(catalog, tenant=tenant, dataset_id=dataset_id)
    with catalog.read() as connection:
        ahead = curations.look_ahead(
            connection,
            dataset_id=dataset_id,
            encoder_hash=encoder_hash,
            vocabulary_hash=vocabulary_hash,
            parameters_hash=parameters.hash,
        )
        runs = _runs(connection, encoder_hash)
        own = [run for run in runs if run.tenant == tenant]
        exactly = parameters.searches_exactly(sum(shard.samples for shard in ahead.shards))
        return Foreseen(
            ahead=ahead,
            there=_there(connection, dataset_id, encoder_hash, ahead),
            rates=_shared_rates(connection, encoder_hash) | _rates(connection, runs, exactly),
            exactly=exactly,
            like=own[0] if own else None,
        )


def _there(
    connection: Connection, dataset_id: str, encoder_hash: str, ahead: Ahead
) -> dict[str, frozenset[str]]:
    kept = ahead.existing is not None and ahead.existing.state not in (
        CurationState.FAILED,
        CurationState.CANCELLED,
        CurationState.COMPLETED_WITH_ERRORS,
    )
    scopes = [encoder_hash, *([ahead.curation_id] if kept else [])]
    statement = select(models.Chunk.stage, models.Chunk.subject).where(
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.scope.in_(scopes),
        models.Chunk.state == ChunkState.DONE,
    )
    found: dict[str, set[str]] = {}
    for stage, subject in connection.execute(statement):
        found.setdefault(stage, set()).add(subject)
    return {stage: frozenset(subjects) for stage, subjects in found.items()}


def _runs(connection: Connection, encoder_hash: str) -> list[CurationRecord]:
    statement = (
        select_record(CurationRecord, models.Curation)
        .where(models.Curation.encoder_hash == encoder_hash, models.Curation.state == CurationState.COMPLETED)
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(MOST_RUNS)
    )
    return fetch_all(connection, CurationRecord, statement)


def _shared_rates(connection: Connection, encoder_hash: str) -> dict[str, Rate]:
    statement = (
        select(models.Chunk.stage, func.sum(models.Chunk.seconds), func.sum(models.Chunk.units_total))
        .where(
            models.Chunk.scope == encoder_hash,
            models.Chunk.stage.in_(SHARED_STAGES),
            models.Chunk.state == ChunkState.DONE,
            models.Chunk.seconds.is_not(None),
        )
        .group_by(models.Chunk.stage)
    )
    found = connection.execute(statement).all()
    return {stage: Rate(float(total or 0) / int(units), int(units)) for stage, total, units in found if units}


def _rates(connection: Connection, runs: list[CurationRecord], exactly: bool) -> dict[str, Rate]:
    """Of the stages of curations. The slowest run counts: one that builds on an earlier one does less."""
    samples = {run.id: run.samples for run in runs}
    alike = {
        run.id
        for run in runs
        if CurationParameters(**run.parameters).searches_exactly(run.samples) == exactly
    }
    statement = (
        select(
            models.Chunk.curation_id,
            models.Chunk.stage,
            func.sum(models.Chunk.seconds),
            func.sum(models.Chunk.units_total),
        )
        .where(
            models.Chunk.curation_id.in_(list(samples)),
            models.Chunk.state == ChunkState.DONE,
            models.Chunk.seconds.is_not(None),
        )
        .group_by(models.Chunk.curation_id, models.Chunk.stage)
    )
    rates: dict[str, Rate] = {}
    for run, stage, total, units in connection.execute(statement):
        seconds = float(total or 0.0)
        searched = stage == Stage.NEIGHBOURS
        work = int(units) * (samples[str(run)] if searched and exactly else 1)
        if searched and run not in alike:
            continue
        if work and (stage not in rates or seconds / work > rates[stage].seconds):
            rates[stage] = Rate(seconds / work, int(units))
    return rates
