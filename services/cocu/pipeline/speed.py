"""How fast a curation runs and how long it still takes, from the times of tasks that have ended.

Nothing is guessed: a stage of which no task has ended, on this run or on an earlier one with the same
encoder, leaves the remaining time unknown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from cocu.catalog import events, models
from cocu.catalog.curations import CurationRecord
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import EventKind, TaskState
from cocu.curation.parameters import CurationParameters
from cocu.pipeline import rates, stages
from cocu.pipeline.progress import StageProgress, in_stage, stage_progress
from cocu.pipeline.rates import Rate
from cocu.pipeline.stages import StageSpec

SAME_TRANSACTION_SECONDS = 1.0

EVENT_SECONDS = 1.0
"""Events of the progress of a curation are at least so far apart, but for the last one of a stage."""


@dataclass(frozen=True)
class Speed:
    """How fast a stage of a run does samples, and the seconds until the run ends; None: not known."""

    per_second: float | None
    remaining_seconds: float | None


@dataclass(frozen=True)
class _Measured:
    """The tasks of one stage of a run that ended since the run began, and how many run now.

    samples, seconds: in these tasks, summed. span: from the first one's begin to the last one's end.
    """

    samples: int
    seconds: float
    span: float
    running: int

    @property
    def workers(self) -> float:
        """How many tasks run at once: on average while it was measured, else now."""
        return max(1.0, self.seconds / self.span) if self.span > 0 else float(self.running)


@retry_on_outage
def of_curation(catalog: Catalog, run: CurationRecord, done: tuple[StageProgress, ...]) -> Speed:
    """Return the speed of a run in its present stage; done: the progress of all its stages.

    The cost: five queries over the tasks of the run, and over those of the last runs with its encoder.
    """
    stage = next((stage for stage in done if stage.stage == run.stage), None)
    if stage is None:
        return Speed(None, None)
    with catalog.read() as connection:
        return measure(connection, run, stage)


def measure(connection: Connection, run: Any, stage: StageProgress) -> Speed:
    """Return the speed of one stage of a run, a row or a record of curations, inside a transaction.

    The remaining time is that of this stage and of those after it; of a stage beside the run there is none.
    """
    spec = stages.spec_of(stage.stage)
    measured = _measure(connection, run, spec)
    per_second = measured.samples / measured.span if measured.samples and measured.span > 0 else None
    if spec.beside is not None:
        return Speed(per_second, None)
    return Speed(per_second, _remaining(connection, run, stage, measured, per_second))


def record_progress(connection: Connection, run: Any, spec: StageSpec, *, is_ended: bool) -> None:
    """Store an event of the progress and speed of a stage, at most once in EVENT_SECONDS until it is ended.

    Counting the tasks of a stage takes time in proportion to its shards: after each of them it would be their
    square. The caller holds the lock of the curation.
    """
    kind = EventKind.PROGRESS
    if not is_ended and events.is_recent(connection, curation_id=run.id, kind=kind, seconds=EVENT_SECONDS):
        return
    stage = stage_progress(connection, curation_id=run.id, spec=spec)
    data = asdict(stage) | asdict(measure(connection, run, stage))
    events.add(connection, tenant=run.tenant, curation_id=run.id, kind=kind, data=data)


def _remaining(
    connection: Connection, run: Any, stage: StageProgress, measured: _Measured, per_second: float | None
) -> float | None:
    parameters = CurationParameters.from_stored(run.parameters)
    exactly = parameters.searches_exactly(run.samples)
    runs = rates.completed_runs(connection, run.encoder_hash)
    measured_rates = rates.of_stages(connection, runs, encoder_hash=run.encoder_hash, exactly=exactly)
    workers = measured.workers
    left = max(0, stage.samples_total - stage.samples_done) if stage.done + stage.failed < stage.total else 0
    if left == 0:
        seconds = 0.0
    elif per_second is not None:
        seconds = left / per_second
    elif workers and stage.stage in measured_rates:
        seconds = left * _per_sample(measured_rates[stage.stage], stage.stage, run.samples, exactly) / workers
    else:
        return None
    following = stages.following(stage.stage, parameters, run.samples)
    while following is not None:
        if following.name not in measured_rates or not workers:
            return None
        rate = _per_sample(measured_rates[following.name], following.name, run.samples, exactly)
        at_once = 1.0 if following.unit == "curation" else min(workers, max(1, stage.total))
        seconds += run.samples * rate / at_once
        following = stages.following(following.name, parameters, run.samples)
    return seconds


def _per_sample(rate: Rate, stage: str, samples: int, exactly: bool) -> float:
    """Return the seconds of one worker for a sample; the unit of an exact search is a pair of samples."""
    return rate.seconds * samples if stages.spec_of(stage).counts_pairs and exactly else rate.seconds


def _measure(connection: Connection, run: Any, spec: StageSpec) -> _Measured:
    # Tasks that an earlier run has done say nothing about this one. The first task is leased just before the
    # run is marked as started, in the same transaction.
    started = 0.0 if run.started_at is None else run.started_at.timestamp() - SAME_TRANSACTION_SECONDS
    task = models.Task
    ended = connection.execute(
        select(
            func.sum(task.units_total).label("samples"),
            func.sum(task.seconds).label("seconds"),
            (func.max(task.leased_at + task.seconds) - func.min(task.leased_at)).label("span"),
        ).where(
            in_stage(run.id, spec),
            task.state == TaskState.DONE,
            task.seconds.is_not(None),
            task.leased_at >= started,
        )
    ).one()
    running = select(func.count()).where(in_stage(run.id, spec), task.state == TaskState.RUNNING)
    return _Measured(
        samples=int(ended.samples or 0),
        seconds=float(ended.seconds or 0.0),
        span=float(ended.span or 0.0),
        running=int(connection.execute(running).scalar_one()),
    )
