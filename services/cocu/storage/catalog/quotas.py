"""How much a tenant has stored, and how much it may."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, text

from cocu.errors import LimitExceededError
from cocu.storage.catalog import models
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import ResumableState, UploadState

_KIND = 0x71756F74
"""Tells these advisory locks from others."""


@repeated
def stored_bytes(catalog: Catalog, *, tenant: str) -> int:
    """Bytes of a tenant's shards, of its uploads that are not shards yet, and of those that are announced."""
    with catalog.read() as connection:
        return _stored(connection, tenant)


@repeated
def check_room(catalog: Catalog, *, tenant: str, size: int, limit: int | None) -> None:
    """As `require_room`, before anything is sent; what is true then may change until it has arrived."""
    if limit is not None:
        with catalog.read() as connection:
            _require_room(connection, tenant=tenant, size=size, limit=limit)


def require_room(connection: Connection, *, tenant: str, size: int, limit: int | None) -> None:
    """Raises LimitExceededError when `size` more bytes would be more than a tenant may store.

    Others who ask for the same tenant wait until the transaction ends, so that together they store no more.
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
    """SQLite has one writer anyway; PostgreSQL counts rows that others may be adding to at this moment."""
    if connection.dialect.name == "postgresql":
        locked = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, :kind))")
        connection.execute(locked, {"tenant": tenant, "kind": _KIND})


def _stored(connection: Connection, tenant: str) -> int:
    shards = select(func.sum(models.Shard.bytes)).where(models.Shard.tenant == tenant)
    files = select(func.sum(models.Upload.bytes)).where(
        models.Upload.tenant == tenant, models.Upload.state == UploadState.RECEIVED
    )
    announced = select(func.sum(models.ResumableUpload.length)).where(
        models.ResumableUpload.tenant == tenant, models.ResumableUpload.state == ResumableState.OPEN
    )
    return sum(int(connection.execute(part).scalar_one() or 0) for part in (shards, files, announced))
