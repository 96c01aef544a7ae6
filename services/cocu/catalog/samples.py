"""Shards and samples: where each key is stored, and which upload owns it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, tuple_

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.errors import NotFoundError

KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class SampleRecord:
    """Where a sample is: its shard and its row there; the shard's sample table has the rest."""

    dataset_id: str
    key: str
    shard_id: str
    row: int


@dataclass(frozen=True)
class ShardRecord:
    """At most 10,000 samples in a tar of our own; sha256 is that of the tar and its embeddings."""

    dataset_id: str
    id: str
    upload_id: str
    upload_ordinal: int
    number: int
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class NewShard:
    """A shard that ingest has written: its keys in row order."""

    id: str
    keys: tuple[str, ...]
    bytes: int
    sha256: str


_FIND = select_record(SampleRecord, models.Sample).where(
    models.Sample.tenant == bindparam("tenant"),
    models.Sample.dataset_id == bindparam("dataset_id"),
    models.Sample.key == bindparam("key"),
)


@retry_on_outage
def find(catalog: Catalog, *, tenant: str, dataset_id: str, key: str) -> SampleRecord:
    """Where the sample of this key is. Raises NotFoundError without one."""
    where = {"tenant": tenant, "dataset_id": dataset_id, "key": key}
    with catalog.read() as connection:
        record = fetch_one(connection, SampleRecord, _FIND, where)
    if record is None:
        raise NotFoundError(f"no sample {key!r} in dataset {dataset_id!r}")
    return record


@retry_on_outage
def find_many(
    catalog: Catalog, *, tenant: str, dataset_id: str, keys: Sequence[str]
) -> dict[str, SampleRecord]:
    """Where the samples of these keys are, by key; keys that do not exist are left out."""
    records: dict[str, SampleRecord] = {}
    remaining = iter(keys)
    with catalog.read() as connection:
        while batch := list(islice(remaining, KEYS_PER_QUERY)):
            statement = select_record(SampleRecord, models.Sample).where(
                models.Sample.tenant == tenant,
                models.Sample.dataset_id == dataset_id,
                models.Sample.key.in_(batch),
            )
            records |= {record.key: record for record in fetch_all(connection, SampleRecord, statement)}
    return records


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, dataset_id: str, limit: int, after: str | None = None
) -> Page[SampleRecord]:
    """The samples of a dataset by key; `after` is a key."""
    statement = (
        select_record(SampleRecord, models.Sample)
        .where(models.Sample.tenant == tenant, models.Sample.dataset_id == dataset_id)
        .order_by(models.Sample.key)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Sample.key > after)
    with catalog.read() as connection:
        records = fetch_all(connection, SampleRecord, statement)
    return page_of(records, limit, [record.key for record in records])


@retry_on_outage
def shard(catalog: Catalog, *, dataset_id: str, shard_id: str) -> ShardRecord:
    """A shard. Raises NotFoundError without it."""
    statement = select_record(ShardRecord, models.Shard).where(
        models.Shard.dataset_id == dataset_id, models.Shard.id == shard_id
    )
    with catalog.read() as connection:
        record = fetch_one(connection, ShardRecord, statement)
    if record is None:
        raise NotFoundError(f"no shard {shard_id!r} in dataset {dataset_id!r}")
    return record


@retry_on_outage
def first_row(catalog: Catalog, *, dataset_id: str, shard_id: str) -> int:
    """Return how many samples the dataset has in the shards before this one; 0 if the shard is gone."""
    order = (models.Shard.upload_ordinal, models.Shard.number)
    of_dataset = models.Shard.dataset_id == dataset_id
    place = select(*order).where(of_dataset, models.Shard.id == shard_id)
    with catalog.read() as connection:
        row = connection.execute(place).one_or_none()
        if row is None:
            return 0
        before = select(func.sum(models.Shard.samples)).where(of_dataset, tuple_(*order) < tuple_(*row))
        return int(connection.execute(before).scalar_one() or 0)


@retry_on_outage
def shards(catalog: Catalog, *, tenant: str, dataset_id: str) -> list[ShardRecord]:
    """Every shard of a dataset, in the order that numbers its samples."""
    statement = (
        select_record(ShardRecord, models.Shard)
        .where(models.Shard.tenant == tenant, models.Shard.dataset_id == dataset_id)
        .order_by(models.Shard.upload_ordinal, models.Shard.number)
    )
    with catalog.read() as connection:
        return fetch_all(connection, ShardRecord, statement)


@retry_on_outage
def owned_before(catalog: Catalog, *, dataset_id: str, ordinal: int, keys: Sequence[str]) -> set[str]:
    """Those of the keys that an upload with a lower ordinal owns."""
    with catalog.read() as connection:
        owned = owners(connection, dataset_id=dataset_id, keys=keys)
        return {key for key, owner in owned if owner < ordinal}


def owners(connection: Connection, *, dataset_id: str, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(key, ordinal of its upload) of those of the keys that the dataset has."""
    remaining = iter(keys)
    while batch := list(islice(remaining, KEYS_PER_QUERY)):
        statement = select(models.Sample.key, models.Sample.upload_ordinal).where(
            models.Sample.dataset_id == dataset_id, models.Sample.key.in_(batch)
        )
        yield from ((row.key, row.upload_ordinal) for row in connection.execute(statement))


def forget(connection: Connection, *, dataset_id: str, upload_id: str) -> None:
    """Delete the rows of an upload's samples and shards."""
    of_upload = select(models.Shard.id).where(models.Shard.upload_id == upload_id)
    connection.execute(
        delete(models.Sample).where(
            models.Sample.dataset_id == dataset_id, models.Sample.shard_id.in_(of_upload)
        )
    )
    connection.execute(delete(models.Shard).where(models.Shard.upload_id == upload_id))


def remember(connection: Connection, *, upload: Row[Any], shards: Sequence[NewShard]) -> None:
    """Insert the rows of an upload's shards and their samples."""
    shared = {"tenant": upload.tenant, "dataset_id": upload.dataset_id, "upload_ordinal": upload.ordinal}
    for number, shard in enumerate(shards):
        values = {
            "id": shard.id,
            "number": number,
            "samples": len(shard.keys),
            "bytes": shard.bytes,
            "sha256": shard.sha256,
        }
        connection.execute(insert(models.Shard).values(shared | values | {"upload_id": upload.id}))
        rows = [shared | {"key": key, "shard_id": shard.id, "row": row} for row, key in enumerate(shard.keys)]
        if rows:
            connection.execute(insert(models.Sample), rows)
