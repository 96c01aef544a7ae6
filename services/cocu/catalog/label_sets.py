"""Labels that are kept with a dataset, each under a name; the labels themselves are an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import DatasetState
from cocu.errors import NotFoundError


@dataclass(frozen=True)
class LabelSetRecord:
    """Kept labels. hash: over the labels and their map. document: the path of the object that holds
    them; sha256: of that object.

    images: labelled images; classes: distinct labels. counts: how they match the samples of the dataset.
    """

    dataset_id: str
    name: str
    tenant: str
    hash: str
    document: str
    sha256: str
    label_map: str | None
    images: int
    classes: int
    counts: dict[str, Any]
    created_at: datetime


@retry_on_outage
def store(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    name: str,
    hash: str,
    document: str,
    sha256: str,
    label_map: str | None,
    images: int,
    classes: int,
    counts: dict[str, Any],
) -> tuple[LabelSetRecord, LabelSetRecord | None]:
    """Keep labels in place of those of this name; return them, and those that they replace.

    Raises NotFoundError without the dataset.
    """
    keys = {"dataset_id": dataset_id, "name": name}
    values: dict[str, Any] = {"tenant": tenant, "hash": hash, "document": document, "sha256": sha256}
    values |= {"label_map": label_map, "images": images, "classes": classes, "counts": counts}
    with catalog.write() as connection:
        # The lock makes others that keep labels of this dataset wait, so that one replaces the other.
        locked = (
            select(models.Dataset.id)
            .where(
                models.Dataset.tenant == tenant,
                models.Dataset.id == dataset_id,
                models.Dataset.state == DatasetState.ACTIVE,
            )
            .with_for_update(key_share=True)
        )
        if connection.execute(locked).first() is None:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        statement = _of_dataset(tenant, dataset_id).where(models.LabelSet.name == name)
        before = fetch_one(connection, LabelSetRecord, statement)
        if before is not None:
            connection.execute(delete(models.LabelSet).where(*_key(tenant, dataset_id, name)))
        connection.execute(
            models.LabelSet.__table__.insert().values(**keys, **values)  # type: ignore[attr-defined]
        )
        record = fetch_one(connection, LabelSetRecord, statement)
    assert record is not None
    return record, before


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, dataset_id: str, name: str) -> LabelSetRecord:
    """The labels of this name. Raises NotFoundError without them."""
    statement = _of_dataset(tenant, dataset_id).where(models.LabelSet.name == name)
    with catalog.read() as connection:
        record = fetch_one(connection, LabelSetRecord, statement)
    if record is None:
        raise NotFoundError(f"dataset {dataset_id} keeps no labels named {name!r}")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, dataset_id: str, limit: int, after: str | None = None
) -> Page[LabelSetRecord]:
    """The labels of a dataset by name."""
    statement = _of_dataset(tenant, dataset_id).limit(limit + 1)
    if after is not None:
        statement = statement.where(models.LabelSet.name > after)
    with catalog.read() as connection:
        records = fetch_all(connection, LabelSetRecord, statement)
    return page_of(records, limit, [record.name for record in records])


@retry_on_outage
def remove(catalog: Catalog, *, tenant: str, dataset_id: str, name: str) -> LabelSetRecord | None:
    """Delete the labels of this name; return what they were, None where there were none."""
    statement = _of_dataset(tenant, dataset_id).where(models.LabelSet.name == name)
    with catalog.write() as connection:
        record = fetch_one(connection, LabelSetRecord, statement)
        connection.execute(delete(models.LabelSet).where(*_key(tenant, dataset_id, name)))
    return record


@retry_on_outage
def is_kept(catalog: Catalog, *, dataset_id: str, hash: str) -> bool:
    """Whether the dataset keeps labels with this hash, under any name."""
    statement = select(models.LabelSet.name).where(
        models.LabelSet.dataset_id == dataset_id, models.LabelSet.hash == hash
    )
    with catalog.read() as connection:
        return connection.execute(statement.limit(1)).first() is not None


def _of_dataset(tenant: str, dataset_id: str) -> Select[Any]:
    return (
        select_record(LabelSetRecord, models.LabelSet)
        .where(models.LabelSet.tenant == tenant, models.LabelSet.dataset_id == dataset_id)
        .order_by(models.LabelSet.name)
    )


def _key(tenant: str, dataset_id: str, name: str) -> tuple[Any, ...]:
    return (
        models.LabelSet.tenant == tenant,
        models.LabelSet.dataset_id == dataset_id,
        models.LabelSet.name == name,
    )
