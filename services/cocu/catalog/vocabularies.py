"""Vocabularies: immutable versions, identified by the hash of their document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select
from sqlalchemy import delete as delete_rows

from cocu.catalog import models
from cocu.catalog.curations import CurationRecord
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, insert_new, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import COMPLETED_CURATIONS, DatasetState
from cocu.errors import ConflictError, NotFoundError


@dataclass(frozen=True)
class VocabularyRecord:
    """A version of a vocabulary; `source` is shipped, uploaded or mined, `concepts` their number."""

    id: str
    tenant: str
    name: str
    version: str
    hash: str
    source: str
    concepts: int
    created_at: datetime


def identity(hash: str) -> str:
    """The id of a vocabulary, from the hash of its document."""
    return hash[:32]


@retry_on_outage
def create(
    catalog: Catalog, *, tenant: str, name: str, version: str, hash: str, source: str, concepts: int
) -> tuple[VocabularyRecord, bool]:
    """The vocabulary of this hash, and whether it is new: the same document twice is one vocabulary.

    Raises ConflictError when this name and version belong to another document.
    """
    vocabulary_id = identity(hash)
    values: dict[str, Any] = {"tenant": tenant, "id": vocabulary_id, "name": name, "version": version}
    values |= {"hash": hash, "source": source, "concepts": concepts}
    where = (models.Vocabulary.tenant == tenant, models.Vocabulary.id == vocabulary_id)
    statement = select_record(VocabularyRecord, models.Vocabulary).where(*where)
    with catalog.write() as connection:
        new = insert_new(connection, models.Vocabulary, values)
        record = fetch_one(connection, VocabularyRecord, statement)
    if record is None:
        raise ConflictError(
            f"vocabulary {name!r} version {version!r} exists with other concepts; give this another version"
        )
    return record, new


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, vocabulary: str) -> VocabularyRecord:
    """The vocabulary of this id, or the newest of this name. Raises NotFoundError without one."""
    statement = (
        select_record(VocabularyRecord, models.Vocabulary)
        .where(
            models.Vocabulary.tenant == tenant,
            or_(models.Vocabulary.id == vocabulary, models.Vocabulary.name == vocabulary),
        )
        .order_by(models.Vocabulary.created_at.desc(), models.Vocabulary.id)
        .limit(1)
    )
    with catalog.read() as connection:
        record = fetch_one(connection, VocabularyRecord, statement)
    if record is None:
        raise NotFoundError(f"no vocabulary {vocabulary!r}")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, limit: int, after: str | None = None
) -> Page[VocabularyRecord]:
    """The tenant's vocabularies by id."""
    statement = (
        select_record(VocabularyRecord, models.Vocabulary)
        .where(models.Vocabulary.tenant == tenant)
        .order_by(models.Vocabulary.id)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Vocabulary.id > after)
    with catalog.read() as connection:
        records = fetch_all(connection, VocabularyRecord, statement)
    return page_of(records, limit, [record.id for record in records])


def lock(connection: Connection, *, tenant: str, vocabulary_id: str) -> bool:
    """Keep a vocabulary from being deleted until this transaction ends; return False where there is none."""
    statement = (
        select(models.Vocabulary.id)
        .where(models.Vocabulary.tenant == tenant, models.Vocabulary.id == vocabulary_id)
        .with_for_update(read=True, key_share=True)
    )
    return connection.execute(statement).first() is not None


@retry_on_outage
def delete(catalog: Catalog, *, tenant: str, vocabulary_id: str) -> None:
    """Delete a vocabulary, and with it what was said about its concepts.

    Raises NotFoundError without one of this id, ConflictError where a curation uses it, whatever its state;
    curations of datasets that are being deleted do not count. Its document stays in the object store: another
    tenant may have the same.
    """
    of_id = (models.Vocabulary.tenant == tenant, models.Vocabulary.id == vocabulary_id)
    users = (
        select(func.count())
        .select_from(models.Curation)
        .join(models.Dataset, models.Dataset.id == models.Curation.dataset_id)
        .where(
            models.Curation.tenant == tenant,
            models.Curation.vocabulary_id == vocabulary_id,
            models.Dataset.state == DatasetState.ACTIVE,
        )
    )
    with catalog.write() as connection:
        # Whoever creates a curation with it takes the lock of `lock` first, and so waits here, or is counted.
        locked = select(models.Vocabulary.id).where(*of_id).with_for_update()
        if connection.execute(locked).first() is None:
            raise NotFoundError(f"no vocabulary {vocabulary_id!r}")
        used = connection.execute(users).scalar_one()
        if used:
            raise ConflictError(
                f"{used:,} {'curation uses' if used == 1 else 'curations use'} this vocabulary; it can be "
                "deleted when their datasets are"
            )
        connection.execute(delete_rows(models.Vocabulary).where(*of_id))


@retry_on_outage
def published_with(
    catalog: Catalog, *, tenant: str, vocabulary_hash: str, limit: int
) -> list[CurationRecord]:
    """The tenant's completed curations with a vocabulary, the latest to finish first."""
    statement = (
        select_record(CurationRecord, models.Curation)
        .join(models.Dataset, models.Dataset.id == models.Curation.dataset_id)
        .where(
            models.Curation.tenant == tenant,
            models.Curation.vocabulary_hash == vocabulary_hash,
            models.Curation.state.in_(COMPLETED_CURATIONS),
            models.Dataset.state == DatasetState.ACTIVE,
        )
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(limit)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationRecord, statement)


@retry_on_outage
def count(catalog: Catalog, *, tenant: str) -> int:
    """How many vocabularies the tenant has."""
    with catalog.read() as connection:
        statement = (
            select(func.count()).select_from(models.Vocabulary).where(models.Vocabulary.tenant == tenant)
        )
        return connection.execute(statement).scalar_one()
