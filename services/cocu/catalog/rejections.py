"""What was not accepted and why: counts by reason, and the list itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.records import Page, fetch_all, page_of, select_record, storable
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import Outcome
from cocu.errors import InvalidInputError


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
    """A rejection to store; link: the row of a table whose image a later attempt may fetch."""

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


@retry_on_outage
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


@retry_on_outage
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
    owner_key: str,
    new: Sequence[NewRejection],
    shard_id: str | None = None,
) -> None:
    """Store these in place of what the same work (upload, shard and owner_key) reported before."""
    same = delete(models.Rejection).where(
        models.Rejection.upload_id == upload_id, models.Rejection.owner_key == owner_key
    )
    connection.execute(same if shard_id is None else same.where(models.Rejection.shard_id == shard_id))
    rows = [
        {
            "tenant": tenant,
            "dataset_id": dataset_id,
            "upload_id": upload_id,
            "shard_id": shard_id,
            "owner_key": owner_key,
            "outcome": rejection.outcome,
            "reason": rejection.reason,
            "key": None if rejection.key is None else storable(rejection.key),
            "member": None if rejection.member is None else storable(rejection.member),
            "detail": storable(rejection.detail),
            "link": None if rejection.link is None else dict(rejection.link),
        }
        for rejection in new
    ]
    if rows:
        connection.execute(insert(models.Rejection), rows)


@retry_on_outage
def replace_failures(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    upload_id: str,
    shard_id: str,
    owner_key: str,
    new: Sequence[NewRejection],
) -> None:
    """Store what a later stage could not process of a shard, in place of what it reported before."""
    with catalog.write() as connection:
        replace(
            connection,
            tenant=tenant,
            dataset_id=dataset_id,
            upload_id=upload_id,
            shard_id=shard_id,
            owner_key=owner_key,
            new=new,
        )


def serial(cursor: str) -> int:
    """The number in a cursor. Raises InvalidInputError when it is not one."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInputError(f"{cursor!r} is not a cursor of this list; take `next` of the previous page")
    return int(cursor)
