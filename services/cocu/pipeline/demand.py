"""The demand for a task: a task that nothing needs any more is not started, and is stopped if it runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from cocu.catalog import models
from cocu.catalog.states import ACTIVE_CURATIONS, DatasetState
from cocu.catalog.tasks import TaskRecord
from cocu.pipeline import stages


def is_needed(connection: Connection, task: TaskRecord) -> bool:
    """Return whether a curation in progress, or the dataset itself, still needs the result."""
    spec = stages.spec_of(task.stage)
    if spec.unit == "dataset":
        return True
    if task.requested or spec.unit in ("upload", "projection"):
        statement = select(models.Dataset.id).where(
            models.Dataset.id == task.dataset_id, models.Dataset.state == DatasetState.ACTIVE
        )
    elif spec.shared:
        statement = active_runs_of(task).limit(1)
    else:
        statement = select(models.Curation.id).where(
            models.Curation.id == task.curation_id, models.Curation.state.in_(ACTIVE_CURATIONS)
        )
    return connection.execute(statement).first() is not None


def active_runs_of(task: TaskRecord) -> Any:
    """Return a statement that selects the ids of the curations in progress that need a shared task."""
    return (
        select(models.Curation.id)
        .join(models.CurationShard, models.CurationShard.curation_id == models.Curation.id)
        .where(
            models.Curation.dataset_id == task.dataset_id,
            models.Curation.encoder_hash == task.owner_key,
            models.Curation.state.in_(ACTIVE_CURATIONS),
            models.CurationShard.shard_id == task.target,
        )
    )
