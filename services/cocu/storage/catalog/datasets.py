"""Datasets: create, list, look, delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError as ConstraintError

from cocu.errors import ConflictError, NotFoundError
from cocu.storage.catalog import chunks, models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page, fetch_all, fetch_one, new_id, page_of
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import ACTIVE_CURATIONS, CurationState, DatasetState, Stage, UploadState

_AT_ONCE = 50_000


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset and how much is in it. `ingesting` counts uploads that are received, or being fetched, and
    not yet shards.
    """

    id: str
    tenant: str
    name: str
    state: str
    created_at: datetime
    uploads: int
    ingesting: int
    shards: int
    samples: int
    bytes: int


def _select() -> Select[Any]:
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
        select(func.count()).select_from(models.Shard).where(of_shards).scalar_subquery().label("shards"),
        total(models.Shard.samples).label("samples"),
        total(models.Shard.bytes).label("bytes"),
    )


def _pending() -> ColumnElement[bool]:
    fetched = (models.Upload.state == UploadState.RECEIVING) & models.Upload.source.is_not(None)
    return (models.Upload.state == UploadState.RECEIVED) | fetched


def _visible(tenant: str) -> tuple[Any, ...]:
    return models.Dataset.tenant == tenant, models.Dataset.state == DatasetState.ACTIVE


@repeated
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


@repeated
def get(catalog: Catalog, *, tenant: str, dataset_id: str) -> DatasetRecord:
    """The dataset. Raises NotFoundError when the tenant has none of this id."""
    with catalog.read() as connection:
        statement = _select().where(*_visible(tenant), models.Dataset.id == dataset_id)
        record = fetch_one(connection, DatasetRecord, statement)
    if record is None:
        raise NotFoundError(f"no dataset {dataset_id!r}")
    return record


@repeated
def find_by_name(catalog: Catalog, *, tenant: str, name: str) -> DatasetRecord | None:
    """The dataset of this name, if there is one."""
    with catalog.read() as connection:
        return fetch_one(
            connection, DatasetRecord, _select().where(*_visible(tenant), models.Dataset.name == name)
        )


@repeated
def list_page(catalog: Catalog, *, tenant: str, limit: int, after: str | None = None) -> Page[DatasetRecord]:
    """The tenant's datasets, oldest first."""
    statement = _select().where(*_visible(tenant)).order_by(models.Dataset.id).limit(limit + 1)
    if after is not None:
        statement = statement.where(models.Dataset.id > after)
    with catalog.read() as connection:
        records = fetch_all(connection, DatasetRecord, statement)
    return page_of(records, limit, [record.id for record in records])


def lock(connection: Connection, *, dataset_id: str) -> str | None:
    """Makes others who change its samples or plan its chunks wait; returns its state, None without one.

    Every transaction that does either begins with this, so that they happen one after the other.
    """
    statement = (
        select(models.Dataset.state).where(models.Dataset.id == dataset_id).with_for_update(key_share=True)
    )
    return connection.execute(statement).scalar_one_or_none()


@repeated
def begin_deletion(catalog: Catalog, *, tenant: str, dataset_id: str) -> list[chunks.Planned]:
    """Makes the dataset invisible, cancels its curations, plans its removal; returns that to enqueue.

    Raises NotFoundError when the tenant has none of this id.
    """
    with catalog.write() as connection:
        gone = (
            update(models.Dataset)
            .where(*_visible(tenant), models.Dataset.id == dataset_id)
            .values(state=DatasetState.DELETING)
        )
        if connection.execute(gone).rowcount == 0:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        connection.execute(
            update(models.Curation)
            .where(models.Curation.dataset_id == dataset_id, models.Curation.state.in_(ACTIVE_CURATIONS))
            .values(state=CurationState.CANCELLED)
        )
        return chunks.plan(
            connection, tenant=tenant, dataset_id=dataset_id, stage=Stage.DELETE, subject=dataset_id
        )


@repeated
def curations_of(catalog: Catalog, *, dataset_id: str) -> list[str]:
    """The ids of every curation of the dataset, whatever its state."""
    with catalog.read() as connection:
        statement = select(models.Curation.id).where(models.Curation.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@repeated
def finish_deletion(catalog: Catalog, *, dataset_id: str) -> None:
    """Removes every row of the dataset, the deleting chunk included. Doing it twice changes nothing."""
    for shard_id in _shards(catalog, dataset_id):
        _forget_samples(catalog, dataset_id, shard_id)
    while _forget_rejections(catalog, dataset_id):
        pass
    runs = select(models.Curation.id).where(models.Curation.dataset_id == dataset_id)
    with catalog.write() as connection:
        for model in (models.Event, models.Evaluation, models.CurationShard):
            connection.execute(delete(model).where(model.curation_id.in_(runs)))
        for owned in (
            models.Chunk,
            models.Curation,
            models.Rejection,
            models.Sample,
            models.Shard,
            models.ResumableUpload,
            models.Upload,
        ):
            connection.execute(delete(owned).where(owned.dataset_id == dataset_id))
        connection.execute(delete(models.Dataset).where(models.Dataset.id == dataset_id))


@repeated
def _shards(catalog: Catalog, dataset_id: str) -> list[str]:
    with catalog.read() as connection:
        statement = select(models.Shard.id).where(models.Shard.dataset_id == dataset_id)
        return list(connection.execute(statement).scalars())


@repeated
def _forget_samples(catalog: Catalog, dataset_id: str, shard_id: str) -> None:
    """A transaction for each shard: deleting millions of rows in one would take longer than one may."""
    mine = (models.Sample.dataset_id == dataset_id, models.Sample.shard_id == shard_id)
    with catalog.write() as connection:
        connection.execute(delete(models.Sample).where(*mine))


@repeated
def _forget_rejections(catalog: Catalog, dataset_id: str) -> int:
    some = select(models.Rejection.id).where(models.Rejection.dataset_id == dataset_id).limit(_AT_ONCE)
    with catalog.write() as connection:
        return connection.execute(delete(models.Rejection).where(models.Rejection.id.in_(some))).rowcount
