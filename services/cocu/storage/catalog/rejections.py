"""What was not accepted and why: counts by reason, and the list itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from cocu.errors import InvalidInputError
from cocu.storage.catalog import models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import Page, fetch_all, page_of, select_record, storable
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import Outcome


@dataclass(frozen=True)
class RejectionRecord:
    """A sample, or member of an upload, that was skipped at ingest or failed later."""

    id: int
    upload_id: str
    shard_id: str | None
    outcome: str
    reason: str
    key: str | None
    member: str | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class NewRejection:
    """A rejection to remember; link: the row of a table whose image a later attempt may get."""

    reason: str
    key: str | None = None
    member: str | None = None
    detail: str = ""
    outcome: Outcome = Outcome.SKIPPED
    link: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """How many samples of a dataset were accepted; skipped and failed ones by reason.

    Samples that failed are among the accepted: they are in the dataset, but without an embedding or an
    archive.
    """

    accepted: int
    skipped: dict[str, int]
    failed: dict[str, int]


@repeated
def report(catalog: Catalog, *, tenant: str, dataset_id: str, upload_id: str | None = None) -> Report:
    """The counts of a dataset, or of one of its uploads."""
    accepted = select(func.coalesce(func.sum(models.Upload.accepted), 0)).where(
        models.Upload.tenant == tenant, models.Upload.dataset_id == dataset_id
    )
    counts = (
        select(models.Rejection.outcome, models.Rejection.reason, func.count())
        .where(models.Rejection.tenant == tenant, models.Rejection.dataset_id == dataset_id)
        .group_by(models.Rejection.outcome, models.Rejection.reason)
        .order_by(models.Rejection.reason)
    )
    if upload_id is not None:
        accepted = accepted.where(models.Upload.id == upload_id)
        counts = counts.where(models.Rejection.upload_id == upload_id)
    by_outcome: dict[str, dict[str, int]] = {Outcome.SKIPPED: {}, Outcome.FAILED: {}}
    with catalog.read() as connection:
        for outcome, reason, count in connection.execute(counts):
            by_outcome[outcome][reason] = count
        total = int(connection.execute(accepted).scalar_one())
    return Report(accepted=total, skipped=by_outcome[Outcome.SKIPPED], failed=by_outcome[Outcome.FAILED])


@repeated
def list_page(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    limit: int,
    after: str | None = None,
    reason: str | None = None,
    outcome: str | None = None,
) -> Page[RejectionRecord]:
    """Rejections in the order they were found, of one reason or outcome if given.

    Raises InvalidInputError when `after` is not the `next` of a page.
    """
    statement = (
        select_record(RejectionRecord, models.Rejection)
        .where(models.Rejection.tenant == tenant, models.Rejection.dataset_id == dataset_id)
        .order_by(models.Rejection.id)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(models.Rejection.id > serial(after))
    if reason is not None:
        statement = statement.where(models.Rejection.reason == reason)
    if outcome is not None:
        statement = statement.where(models.Rejection.outcome == outcome)
    with catalog.read() as connection:
        records = fetch_all(connection, RejectionRecord, statement)
    return page_of(records, limit, [str(record.id) for record in records])


def replace(
    connection: Connection,
    *,
    tenant: str,
    dataset_id: str,
    upload_id: str,
    scope: str,
    new: Sequence[NewRejection],
    shard_id: str | None = None,
) -> None:
    """Remembers these in place of what the same work (upload, shard and scope) reported before."""
    same = delete(models.Rejection).where(
        models.Rejection.upload_id == upload_id, models.Rejection.scope == scope
    )
    connection.execute(same if shard_id is None else same.where(models.Rejection.shard_id == shard_id))
    rows = [
        {
            "tenant": tenant,
            "dataset_id": dataset_id,
            "upload_id": upload_id,
            "shard_id": shard_id,
            "scope": scope,
            "outcome": one.outcome,
            "reason": one.reason,
            "key": None if one.key is None else storable(one.key),
            "member": None if one.member is None else storable(one.member),
            "detail": storable(one.detail),
            "link": None if one.link is None else dict(one.link),
        }
        for one in new
    ]
    if rows:
        connection.execute(insert(models.Rejection), rows)


@repeated
def replace_failures(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    upload_id: str,
    shard_id: str,
    scope: str,
    new: Sequence[NewRejection],
) -> None:
    """Remembers what a later stage could not process of a shard, in place of what it reported before."""
    with catalog.write() as connection:
        replace(
            connection,
            tenant=tenant,
            dataset_id=dataset_id,
            upload_id=upload_id,
            shard_id=shard_id,
            scope=scope,
            new=new,
        )


def serial(cursor: str) -> int:
    """The number in a cursor. Raises InvalidInputError when it is not one."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInputError(f"{cursor!r} is not a cursor of this list; take the one the page before gave")
    return int(cursor)
