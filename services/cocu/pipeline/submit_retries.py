"""Retries of samples: rows whose image could not be fetched, and samples that could not be embedded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from cocu.catalog import datasets, events, models, tasks
from cocu.catalog.engine import Catalog
from cocu.catalog.failed_rows import NO_IMAGE, REFUSED_BY, SOURCE
from cocu.catalog.records import new_id
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import ACTIVE_CURATIONS, DatasetState, Outcome, Stage, TaskState, UploadState
from cocu.catalog.tasks import TaskRef
from cocu.errors import NotFoundError

COLUMNS = {"key": "key", "url": "url", "caption": "caption"}
MAX_NAME_CHARACTERS = 180


@dataclass(frozen=True)
class Retried:
    """The numbers of rows to fetch again and samples to embed again, and the tasks to enqueue."""

    rows: int
    samples: int
    task_refs: tuple[TaskRef, ...]


@retry_on_outage
def retry_samples(
    catalog: Catalog, *, tenant: str, dataset_id: str, max_rows: int, policy: str | None = None
) -> Retried:
    """Plan to fetch the failed rows of a dataset again, and to embed the samples without an embedding again.

    The fetched rows become new uploads. policy: the signature of the rules for URLs; rows that these rules
    refused are left out. Also left out are rows and samples that are being retried already, embeddings that
    a curation in progress uses, and rows beyond `max_rows` of one upload. Raises NotFoundError if the tenant
    has no such dataset.
    """
    with catalog.write() as connection:
        tenant_of = select(models.Dataset.tenant).where(models.Dataset.id == dataset_id)
        state = datasets.lock(connection, dataset_id=dataset_id)
        if state != DatasetState.ACTIVE or connection.execute(tenant_of).scalar_one() != tenant:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        rows, fetches = _fetch_again(connection, tenant, dataset_id, max_rows, policy)
        samples, embeds = _embed_again(connection, dataset_id)
    return Retried(rows, samples, (*fetches, *embeds))


def _fetch_again(
    connection: Connection, tenant: str, dataset_id: str, max_rows: int, policy: str | None
) -> tuple[int, list[TaskRef]]:
    retryable = _retryable(dataset_id, policy)
    statement = (
        select(models.Upload.id, models.Upload.name, models.Upload.options)
        .where(
            models.Upload.dataset_id == dataset_id,
            models.Upload.state == UploadState.INGESTED,
            models.Upload.id.in_(select(models.Rejection.upload_id).where(*retryable)),
        )
        .order_by(models.Upload.ordinal)
    )
    rows = 0
    task_refs: list[TaskRef] = []
    for upload in connection.execute(statement).all():
        retry_id = _create_upload(connection, tenant, dataset_id, upload.name, upload.options)
        rejection_ids = (
            select(models.Rejection.id)
            .where(*retryable, models.Rejection.upload_id == upload.id)
            .order_by(models.Rejection.id)
            .limit(max_rows)
        )
        mark = (
            update(models.Rejection).where(models.Rejection.id.in_(rejection_ids)).values(retried_by=retry_id)
        )
        rows += connection.execute(mark).rowcount
        task_refs += tasks.enqueue(
            connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.FETCH, target=retry_id
        )
    return rows, task_refs


def _retryable(dataset_id: str, policy: str | None) -> tuple[Any, ...]:
    refused_by = models.Rejection.link[REFUSED_BY].as_string()
    return (
        models.Rejection.dataset_id == dataset_id,
        models.Rejection.link.is_not(None),
        models.Rejection.retried_by.is_(None),
        refused_by.is_(None) if policy is None else or_(refused_by.is_(None), refused_by != policy),
    )


def _create_upload(
    connection: Connection, tenant: str, dataset_id: str, name: str, options: Mapping[str, Any]
) -> str:
    base = re.sub(r" \(retry \d+\)$", "", name)[:MAX_NAME_CHARACTERS]
    taken_names = set(
        connection.execute(
            select(models.Upload.name).where(
                models.Upload.dataset_id == dataset_id, models.Upload.name.startswith(base, autoescape=True)
            )
        ).scalars()
    )
    number = next(
        number for number in range(1, len(taken_names) + 2) if f"{base} (retry {number})" not in taken_names
    )
    retry_options = {"format": "parquet", "columns": COLUMNS, "fetch": True}
    if "short_side" in options:
        retry_options["short_side"] = options["short_side"]
    values: dict[str, Any] = {"id": new_id(), "tenant": tenant, "dataset_id": dataset_id}
    values |= {"name": f"{base} (retry {number})", "options": retry_options, "source": SOURCE}
    connection.execute(insert(models.Upload).values(**values, state=UploadState.RECEIVING))
    events.add_uploads(connection, [values["id"]])
    return str(values["id"])


def _embed_again(connection: Connection, dataset_id: str) -> tuple[int, list[TaskRef]]:
    statement = (
        select(models.Rejection.owner_key, models.Rejection.shard_id, func.count())
        .where(
            models.Rejection.dataset_id == dataset_id,
            models.Rejection.outcome == Outcome.FAILED,
            models.Rejection.reason != NO_IMAGE,
            models.Rejection.shard_id.is_not(None),
            models.Rejection.owner_key.not_in(
                select(models.Curation.encoder_hash).where(
                    models.Curation.dataset_id == dataset_id, models.Curation.state.in_(ACTIVE_CURATIONS)
                )
            ),
        )
        .group_by(models.Rejection.owner_key, models.Rejection.shard_id)
        .order_by(models.Rejection.owner_key, models.Rejection.shard_id)
    )
    samples = 0
    task_refs: list[TaskRef] = []
    for owner_key, shard_id, count in connection.execute(statement).all():
        task_id = tasks.identity(
            dataset_id=dataset_id, owner_key=owner_key, stage=Stage.EMBED, target=str(shard_id)
        )
        task = tasks.get(connection, task_id=task_id)
        if task is not None and task.state in (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED):
            tasks.restart(connection, task_id=task_id, requested=True)
            task_refs.append((task_id, Stage.EMBED))
            samples += count
    return samples, task_refs
