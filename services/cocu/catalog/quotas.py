"""How much a tenant has stored, and how much it may."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, text

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import ResumableState, UploadState
from cocu.errors import LimitExceededError

_KIND = 0x71756F74
"""Separates these advisory locks from others."""


@retry_on_outage
def check_room(catalog: Catalog, *, tenant: str, size: int, limit: int | None) -> None:
    """As `require_room`, before anything is sent. The result may change until the file has arrived."""
    if limit is not None:
        with catalog.read() as connection:
            _require_room(connection, tenant=tenant, size=size, limit=limit)


def require_room(connection: Connection, *, tenant: str, size: int, limit: int | None) -> None:
    """Check that a tenant may store `size` more bytes. Raises LimitExceededError.

    Other transactions of the same tenant wait here until this one ends, so that together they stay below the
    limit.
    """
    if limit is not None:
        _lock(connection, tenant)
        _require_room(connection, tenant=tenant, size=size, limit=limit)


def _require_room(connection: Connection, *, tenant: str, size: int, limit: int) -> None:
    stored = _stored(connection, tenant)
    if stored + size > limit:
        raise LimitExceededError(
            f"these {size:,} bytes would be more than the limit of {limit:,} bytes for all uploads of one "
            f"tenant (max_tenant_bytes), of which {max(limit - stored, 0):,} are left; delete a dataset first"
        )


def _lock(connection: Connection, tenant: str) -> None:
    # SQLite has one writer at a time. In PostgreSQL another transaction may add rows that are not seen yet.
    if connection.dialect.name == "postgresql":
        statement = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, :kind))")
        connection.execute(statement, {"tenant": tenant, "kind": _KIND})


def _stored(connection: Connection, tenant: str) -> int:
    shards = select(func.sum(models.Shard.bytes)).where(models.Shard.tenant == tenant)
    files = select(func.sum(models.Upload.bytes)).where(
        models.Upload.tenant == tenant, models.Upload.state == UploadState.RECEIVED
    )
    announced = select(func.sum(models.ResumableUpload.length)).where(
        models.ResumableUpload.tenant == tenant, models.ResumableUpload.state == ResumableState.OPEN
    )
    return sum(int(connection.execute(part).scalar_one() or 0) for part in (shards, files, announced))
