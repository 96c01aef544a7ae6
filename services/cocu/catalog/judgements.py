"""Judgements: whether a concept is right for an image of a curation. One per pair; the later wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.errors import InvalidInputError, NotFoundError


@dataclass(frozen=True)
class JudgementRecord:
    """What somebody said about a concept of an image.

    row: of the sample in the snapshot of the curation; concept_id: in its vocabulary. dealt: the place in the
    order in which the audit deals, None where it never deals the pair. right: None for not sure. replaced:
    what was said before: right, author, created_at (seconds since 1970).
    """

    row: int
    concept_id: int
    key: str
    concept: str
    score: float
    added: bool
    dealt: int | None
    right: bool | None
    author: str | None
    replaced: dict[str, Any] | None
    created_at: datetime


@retry_on_outage
def store(
    catalog: Catalog,
    *,
    tenant: str,
    curation_id: str,
    row: int,
    concept_id: int,
    right: bool | None,
    author: str | None,
    values: dict[str, Any],
) -> tuple[JudgementRecord, bool]:
    """Store a judgement in place of the one before about this pair; return it, and whether it is the first.

    The same once more changes nothing. values: key, concept, score, added and dealt of the pair. Raises
    NotFoundError without the curation.
    """
    key = (
        models.Judgement.tenant == tenant,
        models.Judgement.curation_id == curation_id,
        models.Judgement.row == row,
        models.Judgement.concept_id == concept_id,
    )
    replaced: dict[str, Any] | None = None
    with catalog.write() as connection:
        # The lock makes others that judge here wait: of two at once the later replaces the earlier.
        locked = (
            select(models.Curation.id)
            .where(models.Curation.tenant == tenant, models.Curation.id == curation_id)
            .with_for_update(key_share=True)
        )
        if connection.execute(locked).first() is None:
            raise NotFoundError(f"no curation {curation_id!r}")
        statement = select_record(JudgementRecord, models.Judgement).where(*key)
        before = fetch_one(connection, JudgementRecord, statement)
        if before is not None and (before.right, before.author) == (right, author):
            return before, False
        if before is not None:
            replaced = {
                "right": before.right,
                "author": before.author,
                "created_at": before.created_at.timestamp(),
            }
            connection.execute(delete(models.Judgement).where(*key))
        judgement = {"right": right, "author": author, "replaced": replaced}
        pair = {"tenant": tenant, "curation_id": curation_id, "row": row, "concept_id": concept_id}
        connection.execute(models.Judgement.__table__.insert().values(**pair, **judgement, **values))  # type: ignore[attr-defined]
        record = fetch_one(connection, JudgementRecord, statement)
    assert record is not None
    return record, before is None


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, curation_id: str, row: int, concept_id: int) -> JudgementRecord:
    """The judgement of a pair. Raises NotFoundError without one."""
    statement = _of_curation(tenant, curation_id).where(
        models.Judgement.row == row, models.Judgement.concept_id == concept_id
    )
    with catalog.read() as connection:
        record = fetch_one(connection, JudgementRecord, statement)
    if record is None:
        raise NotFoundError("nobody judged this concept of this sample")
    return record


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, curation_id: str, limit: int, after: str | None = None
) -> Page[JudgementRecord]:
    """The judgements of a curation, in the order of its samples, those of one by concept.

    Raises InvalidInputError when `after` is not the `next` of a page.
    """
    statement = _of_curation(tenant, curation_id).limit(limit + 1)
    if after is not None:
        row, concept_id = _place(after)
        later = (models.Judgement.row == row) & (models.Judgement.concept_id > concept_id)
        statement = statement.where((models.Judgement.row > row) | later)
    with catalog.read() as connection:
        records = fetch_all(connection, JudgementRecord, statement)
    return page_of(records, limit, [f"{record.row}:{record.concept_id}" for record in records])


@retry_on_outage
def dealt(catalog: Catalog, *, tenant: str, curation_id: str) -> dict[int, bool | None]:
    """What was said about pairs that the audit deals, by their place: as many as it deals at most."""
    statement = select(models.Judgement.dealt, models.Judgement.right).where(
        models.Judgement.tenant == tenant,
        models.Judgement.curation_id == curation_id,
        models.Judgement.dealt.is_not(None),
    )
    with catalog.read() as connection:
        return {
            int(position): right for position, right in connection.execute(statement) if position is not None
        }


@retry_on_outage
def count(catalog: Catalog, *, tenant: str, curation_id: str) -> dict[bool | None, int]:
    """How many judgements of a curation say right (True), wrong (False) and not sure (None)."""
    statement = (
        select(models.Judgement.right, func.count())
        .where(models.Judgement.tenant == tenant, models.Judgement.curation_id == curation_id)
        .group_by(models.Judgement.right)
    )
    with catalog.read() as connection:
        return {right: int(number) for right, number in connection.execute(statement)}


@retry_on_outage
def remove(catalog: Catalog, *, tenant: str, curation_id: str, row: int, concept_id: int) -> None:
    """Delete the judgement of a pair; nothing happens without one."""
    with catalog.write() as connection:
        connection.execute(
            delete(models.Judgement).where(
                models.Judgement.tenant == tenant,
                models.Judgement.curation_id == curation_id,
                models.Judgement.row == row,
                models.Judgement.concept_id == concept_id,
            )
        )


def _of_curation(tenant: str, curation_id: str) -> Select[Any]:
    return (
        select_record(JudgementRecord, models.Judgement)
        .where(models.Judgement.tenant == tenant, models.Judgement.curation_id == curation_id)
        .order_by(models.Judgement.row, models.Judgement.concept_id)
    )


def _place(after: str) -> tuple[int, int]:
    row, _, concept_id = after.partition(":")
    try:
        return int(row), int(concept_id)
    except ValueError as error:
        raise InvalidInputError(f"{after!r} is not a cursor of this list; take one from a page") from error
