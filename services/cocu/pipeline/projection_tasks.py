"""Projections: the command that creates one and plans its task, and the events of its states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import Connection, select

from cocu.catalog import datasets, failed_rows, models, projections, tasks
from cocu.catalog.engine import Catalog
from cocu.catalog.projections import ProjectedShard, ProjectionRecord
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import UNFINISHED_TASKS, DatasetState, Stage, TaskState
from cocu.catalog.tasks import TaskRecord, TaskRef
from cocu.errors import ConflictError, NotFoundError
from cocu.pipeline import stages


@dataclass(frozen=True)
class Created:
    """A projection, and the tasks to enqueue."""

    projection: ProjectionRecord
    tasks: tuple[TaskRef, ...]


def identity(
    *, dataset_id: str, encoder_hash: str, method: str, seed: int, shards: Sequence[ProjectedShard]
) -> str:
    """Return the id of a projection: a hash of everything that its points depend on, and of its dataset."""
    document = json.dumps([dataset_id, encoder_hash, method, seed, *map(astuple, shards)])
    return hashlib.sha256(document.encode()).hexdigest()[:32]


@retry_on_outage
def create(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    encoder: str,
    encoder_hash: str,
    method: str,
    seed: int,
) -> Created:
    """Create the projection of what a dataset holds now; the same request returns the same projection.

    It shows the shards with embeddings of this encoder; one that failed is made again. Raises NotFoundError
    if the dataset does not exist, ConflictError while shards are being embedded, or if none was embedded.
    """
    with catalog.write() as connection:
        state = datasets.lock(connection, dataset_id=dataset_id)
        owner = select(models.Dataset.tenant).where(models.Dataset.id == dataset_id)
        if state != DatasetState.ACTIVE or connection.execute(owner).scalar_one_or_none() != tenant:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        shards, left_out = _embedded_shards(connection, dataset_id, encoder_hash, encoder)
        projection_id = identity(
            dataset_id=dataset_id, encoder_hash=encoder_hash, method=method, seed=seed, shards=shards
        )
        samples = sum(shard.samples for shard in shards)
        # The task first: a projection is read together with its task.
        task_refs = tasks.enqueue(
            connection,
            tenant=tenant,
            dataset_id=dataset_id,
            stage=Stage.PROJECT,
            target=projection_id,
            units=samples,
        )
        if projections.find(connection, projection_id=projection_id) is None:
            values = {"id": projection_id, "tenant": tenant, "dataset_id": dataset_id, "encoder": encoder}
            values |= {"encoder_hash": encoder_hash, "method": method}
            numbers = {"seed": seed, "samples": samples, "left_out": left_out}
            projections.insert_new(connection, values={**values, **numbers}, shards=shards)
        if task_refs:
            projections.note_state(connection, projection_id=projection_id, task_state=TaskState.PENDING)
        record = projections.find(connection, projection_id=projection_id)
    assert record is not None
    return Created(record, tuple(task_refs))


def note_state(connection: Connection, task: TaskRecord, state: TaskState) -> None:
    """Store the event of a new state, where the task is that of a projection."""
    if stages.spec_of(task.stage).unit == "projection":
        projections.note_state(connection, projection_id=task.target, task_state=state)


def _embedded_shards(
    connection: Connection, dataset_id: str, encoder_hash: str, encoder: str
) -> tuple[list[ProjectedShard], int]:
    """Return the shards with embeddings in the order of the dataset, and how many samples are in others."""
    states = projections.embedding_states(connection, dataset_id=dataset_id, encoder_hash=encoder_hash)
    if any(state in UNFINISHED_TASKS for state in states.values()):
        raise ConflictError(
            f"samples are being embedded by {encoder!r} just now; ask for the projection when that is done"
        )
    revisions = failed_rows.revisions(connection, dataset_id=dataset_id, encoder_hash=encoder_hash)
    rows = connection.execute(
        select(models.Shard.id, models.Shard.samples)
        .where(models.Shard.dataset_id == dataset_id)
        .order_by(models.Shard.upload_ordinal, models.Shard.number)
    ).all()
    shards: list[ProjectedShard] = []
    first_row = left_out = 0
    for row in rows:
        if states.get(row.id) == TaskState.DONE:
            shards.append(ProjectedShard(row.id, first_row, row.samples, revisions.get(row.id, 0)))
        else:
            left_out += row.samples
        first_row += row.samples
    if not any(shard.samples for shard in shards):
        raise ConflictError(
            f"no sample of the dataset is embedded by {encoder!r}; curate the dataset with this encoder, or "
            "choose the encoder of a curation"
        )
    return shards, left_out
