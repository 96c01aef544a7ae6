"""Projections: maps of the images of a dataset. The state of one is that of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Double, and_, insert, select, type_coerce, update
from sqlalchemy.orm import aliased

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.projection_model import Projection
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import DatasetState, EventKind, Stage, TaskState
from cocu.errors import NotFoundError


@dataclass(frozen=True)
class ProjectedShard:
    """A shard that a projection shows: its samples are the global rows from `first_row` on.

    revision: how often its embeddings had been replaced.
    """

    shard_id: str
    first_row: int
    samples: int
    revision: int


@dataclass(frozen=True)
class ProjectionRecord:
    """A projection, without its shards. task_*: of the task that makes it, or has made it.

    samples: those of its shards. left_out: samples of the dataset in other shards, which had no embeddings.
    points, regions: None until it is made. regions: by number of the region, images, x and y.
    """

    id: str
    tenant: str
    dataset_id: str
    encoder: str
    encoder_hash: str
    method: str
    seed: int
    samples: int
    left_out: int
    points: int | None
    regions: dict[str, Any] | None
    created_at: datetime
    task_state: str
    task_units_done: int
    task_error: str | None


@dataclass(frozen=True)
class _Snapshot:
    snapshot: dict[str, Any]


def insert_new(
    connection: Connection, *, values: Mapping[str, Any], shards: Sequence[ProjectedShard]
) -> None:
    """Insert the row of a projection. The caller holds the lock of the dataset."""
    snapshot = {"shards": [asdict(shard) for shard in shards]}
    connection.execute(insert(Projection).values(**values, snapshot=snapshot))


def find(connection: Connection, *, projection_id: str) -> ProjectionRecord | None:
    """Return a projection, inside a transaction."""
    return fetch_one(connection, ProjectionRecord, _select().where(Projection.id == projection_id))


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, projection_id: str) -> ProjectionRecord:
    """Return a projection. Raises NotFoundError when the tenant has none of this id."""
    statement = _select().where(
        Projection.id == projection_id,
        Projection.tenant == tenant,
        models.Dataset.state == DatasetState.ACTIVE,
    )
    with catalog.read() as connection:
        record = fetch_one(connection, ProjectionRecord, statement)
    if record is None:
        raise NotFoundError(f"no projection {projection_id!r}")
    return record


@retry_on_outage
def of_task(catalog: Catalog, *, projection_id: str) -> ProjectionRecord:
    """Return the projection that a task makes. Raises NotFoundError when it was deleted."""
    with catalog.read() as connection:
        record = find(connection, projection_id=projection_id)
    if record is None:
        raise NotFoundError(f"no projection {projection_id!r}")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, dataset_id: str, limit: int, after: str | None = None
) -> Page[ProjectionRecord]:
    """Return the projections of a dataset, newest first; `after` is the id of one."""
    created, key = type_coerce(Projection.created_at, Double), Projection.id
    statement = (
        _select()
        .where(Projection.tenant == tenant, Projection.dataset_id == dataset_id)
        .order_by(created.desc(), key.desc())
        .limit(limit + 1)
    )
    if after is not None:
        last = aliased(Projection)
        moment = select(type_coerce(last.created_at, Double)).where(last.id == after).scalar_subquery()
        statement = statement.where((created < moment) | and_(created == moment, key < after))
    with catalog.read() as connection:
        records = fetch_all(connection, ProjectionRecord, statement)
    return page_of(records, limit, [record.id for record in records])


@retry_on_outage
def shards(catalog: Catalog, *, projection_id: str) -> list[ProjectedShard]:
    """Return the shards that a projection shows, in the order of their rows."""
    statement = select_record(_Snapshot, Projection).where(Projection.id == projection_id)
    with catalog.read() as connection:
        stored = fetch_one(connection, _Snapshot, statement)
    return [] if stored is None else [ProjectedShard(**shard) for shard in stored.snapshot["shards"]]


def embedding_states(connection: Connection, *, dataset_id: str, encoder_hash: str) -> dict[str, str]:
    """Return the state of the embeddings of each shard that an encoder was asked to embed, by shard."""
    statement = select(models.Task.target, models.Task.state).where(
        models.Task.dataset_id == dataset_id,
        models.Task.owner_key == encoder_hash,
        models.Task.stage == Stage.EMBED,
    )
    return {row.target: row.state for row in connection.execute(statement)}


@retry_on_outage
def store_result(
    catalog: Catalog, *, projection_id: str, points: int, regions: Sequence[Mapping[str, int]]
) -> None:
    """Store what was made: the number of points, and for each region images, x and y."""
    with catalog.write() as connection:
        connection.execute(
            update(Projection)
            .where(Projection.id == projection_id)
            .values(points=points, regions={"regions": [dict(region) for region in regions]})
        )


def note_state(connection: Connection, *, projection_id: str, task_state: str) -> None:
    """Store an event that the projection came into the state that belongs to this state of its task."""
    record = find(connection, projection_id=projection_id)
    if record is None:
        return
    data = {"projection": record.id, "state": state_of(task_state)}
    if record.task_error is not None and task_state == TaskState.FAILED:
        data["detail"] = record.task_error
    event = {"tenant": record.tenant, "dataset_id": record.dataset_id, "kind": EventKind.PROJECTION}
    connection.execute(insert(models.Event).values(**event, data=data))


def state_of(task_state: str) -> str:
    """Return the word for the state of a projection whose task is in this state."""
    return _STATES[TaskState(task_state)]


_STATES = {
    TaskState.PENDING: "queued",
    TaskState.RUNNING: "running",
    TaskState.DONE: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "failed",
}


def _select() -> Any:
    task = models.Task
    columns = (
        getattr(Projection, name)
        for name in ProjectionRecord.__dataclass_fields__
        if not name.startswith("task_")
    )
    return (
        select(
            *columns,
            task.state.label("task_state"),
            task.units_done.label("task_units_done"),
            task.error.label("task_error"),
        )
        .join(models.Dataset, models.Dataset.id == Projection.dataset_id)
        # By the unique index over these four columns.
        .join(
            task,
            and_(
                task.dataset_id == Projection.dataset_id,
                task.owner_key == "",
                task.stage == Stage.PROJECT,
                task.target == Projection.id,
            ),
        )
    )
