"""URLs of imports: stored completely until the file is fetched, then only the part that may be shown.

The hash of the complete URL is kept, to recognise the same URL later.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, select, update

from cocu.catalog import models
from cocu.sources import redact

FORGOTTEN = "; its address is not kept whole: to try again, import it again"
"""Added to the reason why an import failed, where its URL had a query."""


def digest(source: str) -> str:
    """Return the hash that is kept of a source."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def forget(connection: Connection, *, upload_id: str) -> bool:
    """Delete the part of an upload's source that is not shown; return whether there was one."""
    statement = select(models.Upload.source).where(models.Upload.id == upload_id)
    source = connection.execute(statement).scalar_one_or_none()
    if source is None or redact(source) == source:
        return False
    connection.execute(
        update(models.Upload)
        .where(models.Upload.id == upload_id)
        .values(source=redact(source), source_digest=digest(source))
    )
    return True
