"""Feedback: what people say about concepts of a vocabulary. One row per concept; the later note wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, fetch_one, page_of, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.errors import NotFoundError


@dataclass(frozen=True)
class FeedbackRecord:
    """What somebody said about a concept.

    action: block, allow or merge. into: the concept that a merged one becomes. author: who, if they said so.
    replaced: the action, into, note, author and time (created_at, seconds since 1970) of the note before.
    """

    concept: str
    action: str
    into: str | None
    note: str | None
    author: str | None
    replaced: dict[str, Any] | None
    created_at: datetime

    @property
    def text(self) -> tuple[str, str | None, str | None, str | None]:
        """Everything that was said, without the time."""
        return self.action, self.into, self.note, self.author


Check = Callable[[Sequence[FeedbackRecord]], None]
"""Raises an error if a note does not go with the others of its vocabulary."""


@retry_on_outage
def store(
    catalog: Catalog,
    *,
    tenant: str,
    vocabulary_id: str,
    concept: str,
    action: str,
    into: str | None,
    note: str | None,
    author: str | None,
    check: Check,
) -> tuple[FeedbackRecord, bool]:
    """Store a note in place of the one before about this concept; return it, and whether it is the first.

    The same note again changes nothing. check: is called with the other notes of the vocabulary, which stay
    as they are until this one is stored. Raises NotFoundError without the vocabulary, and what `check`
    raises.
    """
    values: dict[str, Any] = {"action": action, "into": into, "note": note, "author": author}
    with catalog.write() as connection:
        # The lock makes others that write about this vocabulary wait, so that what was checked stays true.
        locked = (
            select(models.Vocabulary.id)
            .where(models.Vocabulary.tenant == tenant, models.Vocabulary.id == vocabulary_id)
            .with_for_update()
        )
        if connection.execute(locked).first() is None:
            raise NotFoundError(f"no vocabulary {vocabulary_id!r}")
        records = fetch_all(connection, FeedbackRecord, _of_vocabulary(tenant, vocabulary_id))
        check([record for record in records if record.concept != concept])
        before = next((record for record in records if record.concept == concept), None)
        if before is not None and before.text == (action, into, note, author):
            return before, False
        if before is not None:
            values["replaced"] = {
                "action": before.action,
                "into": before.into,
                "note": before.note,
                "author": before.author,
                "created_at": before.created_at.timestamp(),
            }
            connection.execute(delete(models.Feedback).where(*_key(tenant, vocabulary_id, concept)))
        keys = {"tenant": tenant, "vocabulary_id": vocabulary_id, "concept": concept}
        connection.execute(models.Feedback.__table__.insert().values(**keys, **values))  # type: ignore[attr-defined]
        return _find(connection, tenant, vocabulary_id, concept), before is None


@retry_on_outage
def get(catalog: Catalog, *, tenant: str, vocabulary_id: str, concept: str) -> FeedbackRecord:
    """The note about a concept. Raises NotFoundError without one."""
    with catalog.read() as connection:
        return _find(connection, tenant, vocabulary_id, concept)


@retry_on_outage
def list_page(
    catalog: Catalog, *, tenant: str, vocabulary_id: str, limit: int, after: str | None = None
) -> Page[FeedbackRecord]:
    """The notes about concepts of a vocabulary, by concept."""
    statement = _of_vocabulary(tenant, vocabulary_id).limit(limit + 1)
    if after is not None:
        statement = statement.where(models.Feedback.concept > after)
    with catalog.read() as connection:
        records = fetch_all(connection, FeedbackRecord, statement)
    return page_of(records, limit, [record.concept for record in records])


@retry_on_outage
def list_all(catalog: Catalog, *, tenant: str, vocabulary_id: str) -> list[FeedbackRecord]:
    """All notes about concepts of a vocabulary, by concept: at most one for each."""
    with catalog.read() as connection:
        return fetch_all(connection, FeedbackRecord, _of_vocabulary(tenant, vocabulary_id))


@retry_on_outage
def remove(catalog: Catalog, *, tenant: str, vocabulary_id: str, concept: str) -> None:
    """Delete the note about a concept; nothing happens without one."""
    with catalog.write() as connection:
        connection.execute(delete(models.Feedback).where(*_key(tenant, vocabulary_id, concept)))


def _of_vocabulary(tenant: str, vocabulary_id: str) -> Select[Any]:
    return (
        select_record(FeedbackRecord, models.Feedback)
        .where(models.Feedback.tenant == tenant, models.Feedback.vocabulary_id == vocabulary_id)
        .order_by(models.Feedback.concept)
    )


def _key(tenant: str, vocabulary_id: str, concept: str) -> tuple[Any, ...]:
    return (
        models.Feedback.tenant == tenant,
        models.Feedback.vocabulary_id == vocabulary_id,
        models.Feedback.concept == concept,
    )


def _find(connection: Connection, tenant: str, vocabulary_id: str, concept: str) -> FeedbackRecord:
    statement = select_record(FeedbackRecord, models.Feedback).where(*_key(tenant, vocabulary_id, concept))
    record = fetch_one(connection, FeedbackRecord, statement)
    if record is None:
        raise NotFoundError("nothing was said about this concept")
    return record
