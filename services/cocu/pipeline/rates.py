"""Rates of stages: the seconds of one worker for a unit of work, as tasks that have ended took them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cocu.catalog import models
from cocu.catalog.curations import CurationRecord
from cocu.catalog.records import fetch_all, select_record
from cocu.catalog.states import CurationState, TaskState
from cocu.curation.parameters import CurationParameters
from cocu.pipeline import stages

MAX_RUNS = 20
"""The number of completed runs, the latest ones, from which rates are taken."""


@dataclass(frozen=True)
class Rate:
    """Seconds of one worker for a unit of work, and the number of samples on which this was measured.

    The unit is a sample; for an exact search for neighbours it is a pair of samples.
    """

    seconds: float
    samples: int


def of_stages(
    connection: Connection, runs: list[CurationRecord], *, encoder_hash: str, exactly: bool
) -> dict[str, Rate]:
    """Return the rate of every stage that was measured on this platform with an encoder, by stage.

    runs: the `completed_runs` with it. exactly: whether the search for neighbours compares all pairs; its
    rate is that of such searches only.
    """
    return _shared_rates(connection, encoder_hash) | _rates(connection, runs, exactly)


def completed_runs(connection: Connection, encoder_hash: str) -> list[CurationRecord]:
    """Return the last runs with this encoder, of all tenants, that completed; newest first."""
    statement = (
        select_record(CurationRecord, models.Curation)
        .where(models.Curation.encoder_hash == encoder_hash, models.Curation.state == CurationState.COMPLETED)
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(MAX_RUNS)
    )
    return fetch_all(connection, CurationRecord, statement)


def _shared_rates(connection: Connection, encoder_hash: str) -> dict[str, Rate]:
    """Return the rates of shared stages on the datasets of the last runs, for which there is an index."""
    last_datasets = (
        select(models.Curation.dataset_id)
        .where(models.Curation.encoder_hash == encoder_hash)
        .order_by(models.Curation.created_at.desc())
        .limit(MAX_RUNS)
    )
    statement = (
        select(models.Task.stage, func.sum(models.Task.seconds), func.sum(models.Task.units_total))
        .where(
            models.Task.dataset_id.in_(last_datasets),
            models.Task.owner_key == encoder_hash,
            models.Task.stage.in_(spec.name for spec in stages.of_curations() if spec.shared),
            models.Task.state == TaskState.DONE,
            models.Task.seconds.is_not(None),
        )
        .group_by(models.Task.stage)
    )
    rows = connection.execute(statement).all()
    return {stage: Rate(float(total or 0) / int(units), int(units)) for stage, total, units in rows if units}


def _rates(connection: Connection, runs: list[CurationRecord], exactly: bool) -> dict[str, Rate]:
    """Return the rates of stages that belong to one run.

    The slowest run counts, because a run that reuses the lists of an earlier one does less work.
    """
    samples = {run.id: run.samples for run in runs}
    comparable_runs = {
        run.id
        for run in runs
        if CurationParameters.from_stored(run.parameters).searches_exactly(run.samples) == exactly
    }
    statement = (
        select(
            models.Task.curation_id,
            models.Task.stage,
            func.sum(models.Task.seconds),
            func.sum(models.Task.units_total),
        )
        .where(
            models.Task.curation_id.in_(list(samples)),
            models.Task.state == TaskState.DONE,
            models.Task.seconds.is_not(None),
        )
        .group_by(models.Task.curation_id, models.Task.stage)
    )
    rates: dict[str, Rate] = {}
    for run, stage, total, units in connection.execute(statement):
        seconds = float(total or 0.0)
        counts_pairs = stages.spec_of(stage).counts_pairs
        work = int(units) * (samples[str(run)] if counts_pairs and exactly else 1)
        if counts_pairs and run not in comparable_runs:
            continue
        if work and (stage not in rates or seconds / work > rates[stage].seconds):
            rates[stage] = Rate(seconds / work, int(units))
    return rates
