"""Rates and remaining time: from tasks that have ended, and unknown without them."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from tests.catalog.catalog_fixtures import TENANT, curation, filled, take

from cocu.catalog import Catalog, curations, events, models
from cocu.catalog.curations import CurationRecord
from cocu.pipeline import planner, progress, speed
from cocu.pipeline.speed import Speed


def measured(catalog: Catalog, run: str) -> Speed:
    record = curations.get(catalog, tenant=TENANT, curation_id=run)
    return speed.of_curation(catalog, record, progress.of_curation(catalog, tenant=TENANT, curation_id=run))


def end(catalog: Catalog, task_id: str, *, begin: float, seconds: float) -> None:
    """End a task as if a worker had done it at this time after the run was started."""
    assert take(catalog, task_id)
    planner.finish(catalog, task_id=task_id, owner="worker")
    with catalog.write() as connection:
        started = connection.execute(select(models.Curation.started_at)).scalars().first()
        assert started is not None
        at = started.timestamp() + begin
        connection.execute(
            update(models.Task).where(models.Task.id == task_id).values(leased_at=at, seconds=seconds)
        )


def test_speed__is_unknown_until_a_task_has_ended(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a", "b"], ["c"]))
    assert measured(catalog, created.curation.id) == Speed(None, None)
    assert take(catalog, created.tasks[0][0])
    assert measured(catalog, created.curation.id) == Speed(None, None)


def test_speed__is_of_the_samples_of_ended_tasks_over_the_time_they_span(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a", "b", "c", "d"], ["e", "f"], ["g"]))
    embeds = [task_id for task_id, stage in created.tasks if stage == "embed"]
    end(catalog, embeds[0], begin=0.0, seconds=2.0)
    end(catalog, embeds[1], begin=1.0, seconds=3.0)  # beside the first: together four seconds
    with catalog.read() as connection:
        samples = sum(
            connection.execute(
                select(models.Task.units_total).where(models.Task.id.in_(embeds[:2]))
            ).scalars()
        )
    found = measured(catalog, created.curation.id)
    assert found.per_second == pytest.approx(samples / 4.0)
    # What follows has never run with this encoder.
    assert found.remaining_seconds is None


def test_speed__leaves_out_tasks_of_earlier_runs(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a", "b"], ["c"]))
    embeds = [task_id for task_id, stage in created.tasks if stage == "embed"]
    end(catalog, embeds[0], begin=-1000.0, seconds=1.0)
    assert measured(catalog, created.curation.id).per_second is None


def test_remaining__is_of_this_stage_and_those_after_it(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a", "b"], ["c", "d"]))
    run = created.curation
    embeds = [task_id for task_id, stage in created.tasks if stage == "embed"]
    end(catalog, embeds[0], begin=0.0, seconds=4.0)
    _completed_before(catalog, run, {"neighbours": 8.0, "aggregate": 1.0, "curate": 6.0, "publish": 2.0})
    found = measured(catalog, run.id)
    assert found.per_second == pytest.approx(2 / 4.0)
    # Two samples are left of four; the earlier run had four samples, and one worker did one task at a time.
    assert found.remaining_seconds == pytest.approx(2 / 0.5 + 8.0 + 1.0 + 6.0 + 2.0)


def test_progress_events__have_the_rate_of_their_time(catalog: Catalog) -> None:
    created = curation(catalog, filled(catalog, ["a", "b"], ["c"]))
    embeds = [task_id for task_id, stage in created.tasks if stage == "embed"]
    end(catalog, embeds[0], begin=0.0, seconds=2.0)
    told = events.since(catalog, tenant=TENANT, curation_id=created.curation.id)
    data = next(event.data for event in told if event.kind == "progress")
    assert (data["stage"], data["total"], data["done"], data["failed"]) == ("embed", 2, 1, 0)
    assert data["samples_done"] in {1, 2}
    assert data["samples_total"] == 3
    assert data["per_second"] > 0
    assert data["remaining_seconds"] is None


def _completed_before(catalog: Catalog, run: CurationRecord, seconds: dict[str, float]) -> None:
    """A completed curation with this encoder, whose stages took so long."""
    values = {
        column.name: getattr(run, column.name)
        for column in models.Curation.__table__.columns
        if hasattr(run, column.name)
    }
    values |= {"id": "earlier", "state": "completed", "finished_at": run.created_at}
    with catalog.write() as connection:
        connection.execute(models.Curation.__table__.insert().values(values))  # type: ignore[attr-defined]
        for stage, taken in seconds.items():
            task = {"id": f"earlier {stage}", "tenant": TENANT, "dataset_id": run.dataset_id}
            task |= {"owner_key": "earlier", "stage": stage, "target": "all", "curation_id": "earlier"}
            task |= {"state": "done", "units_total": run.samples, "units_done": run.samples, "seconds": taken}
            connection.execute(models.Task.__table__.insert().values(task))  # type: ignore[attr-defined]
