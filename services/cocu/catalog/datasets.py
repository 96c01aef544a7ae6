"""Datasets: create, list, get, delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select
from sqlalchemy.exc import IntegrityError as ConstraintError

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.projection_model import Projection
from cocu.catalog.records import Page, fetch_all, fetch_one, new_id, page_of
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import DatasetState, UploadState
from cocu.errors import ConflictError, NotFoundError

_AT_ONCE = 50_000


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset and how much is in it.

    ingesting: uploads that are received or being fetched, and are not shards yet. receiving: uploads that are
    being sent. failed: uploads that failed.
    """

    id: str
    tenant: str
    name: str
    state: str
    created_at: datetime
    uploads: int
    ingesting: int
    receiving: int
    failed: int
    shards: int
    samples: int
    bytes: int


@cache
def _select() -> Select[Any]:
    """The columns of a dataset. It is built once: that takes longer than running it."""
    of_uploads = models.Upload.dataset_id == models.Dataset.id
    of_shards = models.Shard.dataset_id == models.Dataset.id

    def total(column: Any) -> Any:
        return select(func.coalesce(func.sum(column), 0)).where(of_shards).scalar_subquery()

    uploads = select(func.count()).select_from(models.Upload).where(of_uploads)
    return select(
        models.Dataset.id,
        models.Dataset.tenant,
        models.Dataset.name,
        models.Dataset.state,
        models.Dataset.created_at,
        uploads.scalar_subquery().label("uploads"),
        uploads.where(_pending()).scalar_subquery().label("ingesting"),
        uploads.where(_being_sent()).scalar_subquery().label("receiving"),
        uploads.where(models.Upload.state == UploadState.FAILED).scalar_subquery().label("failed"),
        select(func.count()).select_from(models.Shard).where(of_shards).scalar_subquery().label("shards"),
        total(models.Shard.samples).label("samples"),
        total(models.Shard.bytes).label("bytes"),
    )


def _pending() -> ColumnElement[bool]:
    fetched = (models.Upload.state == UploadState.RECEIVING) & models.Upload.source.is_not(None)
    return (models.Upload.state == UploadState.RECEIVED) | fetched


def _being_sent() -> ColumnElement[bool]:
    return (models.Upload.state == UploadState.RECEIVING) & models.Upload.source.is_(None)


def visible(tenant: str) -> tuple[Any, ...]:
    """The conditions that a dataset is the tenant's and not being deleted."""
    return models.Dataset.tenant == tenant, models.Dataset.state == DatasetState.ACTIVE


@retry_on_outage
def create(catalog: Catalog, *, tenant: str, name: str) -> DatasetRecord:
    """A new, empty dataset. Raises ConflictError when the tenant has one of this name."""
    dataset_id = new_id()
    values = {"id": dataset_id, "tenant": tenant, "name": name, "state": DatasetState.ACTIVE}
    try:
        with catalog.write() as connection:
            connection.execute(insert(models.Dataset).values(values))
    except ConstraintError as error:
        raise ConflictError(
            f"there is a dataset named {name!r} already; choose another name, or delete it"
        ) from error
    return get(catalog, tenant=tenant, dataset_id=dataset_id)


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, dataset_id: str) -> DatasetRecord:
    """The dataset. Raises NotFoundError when the tenant has none of this id."""
    with catalog.read() as connection:
        statement = _select().where(*visible(tenant), models.Dataset.id == dataset_id)
        record = fetch_one(connection, DatasetRecord, statement)
    if record is None:
        raise NotFoundError(f"no dataset {dataset_id!r}")
    return record


@retry_on_outage
def require(catalog: Catalog, *, tenant: str, dataset_id: str) -> None:
    """Raise NotFoundError when the tenant has no dataset of this id; counts nothing, so faster than `get`."""
    statement = select(models.Dataset.id).where(*visible(tenant), models.Dataset.id == dataset_id)
    with catalog.read() as connection:
        if connection.execute(statement).first() is None:
            raise NotFoundError(f"no dataset {dataset_id!r}")


@retry_on_outage
def list_page(catalog: Catalog, *, tenant: str, limit: int, after: str | None = None) -> Page[DatasetRecord]:
    """The tenant's datasets, oldest first."""
    statement = _select().where(*visible(tenant)).order_by(models.Dataset.id).limit(limit + 1)
    if after is not None:
        statement = statement.where(models.Dataset.id > after)
    with catalog.read() as connection:
        records = fetch_all(connection, DatasetRecord, statement)
    return page_of(records, limit, [record.id for record in records])


def lock(connection: Connection, *, dataset_id: str) -> str | None:
    """Lock the dataset; return its state, None where it does not exist.

    Every transaction that changes its samples or plans its tasks begins with this, so that they run one after
    the other.
    """
    statement = (
        select(models.Dataset.state).where(models.Dataset.id == dataset_id).with_for_update(key_share=True)
    )
    return connection.execute(statement).scalar_one_or_none()


@retry_on_outage
def curations_of(catalog: Catalog, *, dataset_id: str) -> list[str]:
    """The ids of every curation of the dataset, whatever its state."""
    with catalog.read() as connection:
        statement = select(models.Curation.id).where(models.Curation.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@retry_on_outage
def finish_deletion(catalog: Catalog, *, dataset_id: str) -> None:
    """Delete every row of the dataset, also that of the deleting task. May be called again."""
    for shard_id in _shards(catalog, dataset_id):
        _forget_samples(catalog, dataset_id, shard_id)
    while _forget_rejections(catalog, dataset_id):
        pass
    curation_ids = select(models.Curation.id).where(models.Curation.dataset_id == dataset_id)
    with catalog.write() as connection:
        for model in (models.Event, models.Evaluation, models.Judgement, models.CurationShard):
            connection.execute(delete(model).where(model.curation_id.in_(curation_ids)))
        for table in (
            models.Event,
            models.Task,
            Projection,
            models.Curation,
            models.LabelSet,
            models.Rejection,
            models.Sample,
            models.Shard,
            models.ResumableUpload,
            models.Upload,
        ):
            connection.execute(delete(table).where(table.dataset_id == dataset_id))
        connection.execute(delete(models.Dataset).where(models.Dataset.id == dataset_id))


@retry_on_outage
def _shards(catalog: Catalog, dataset_id: str) -> list[str]:
    with catalog.read() as connection:
        statement = select(models.Shard.id).where(models.Shard.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@retry_on_outage
def _forget_samples(catalog: Catalog, dataset_id: str, shard_id: str) -> None:
    """In a transaction per shard: deleting millions of rows in one exceeds the time limit of a statement."""
    of_shard = (models.Sample.dataset_id == dataset_id, models.Sample.shard_id == shard_id)
    with catalog.write() as connection:
        connection.execute(delete(models.Sample).where(*of_shard))


@retry_on_outage
def _forget_rejections(catalog: Catalog, dataset_id: str) -> int:
    batch = select(models.Rejection.id).where(models.Rejection.dataset_id == dataset_id).limit(_AT_ONCE)
    with catalog.write() as connection:
        return connection.execute(delete(models.Rejection).where(models.Rejection.id.in_(batch))).rowcount
