"""Which uploads of its dataset a curation does not include, because they had not been ingested."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from cocu.catalog import models
from cocu.catalog.states import UploadState

LIMIT = 100
"""At most so many uploads are named."""
_ARRIVING = "it had not arrived yet; curate again when it has"


def find(connection: Connection, dataset_id: str) -> dict[str, Any] | None:
    """Why the samples of uploads are not in a snapshot taken now, by name; None where all are in it."""
    missing = connection.execute(
        select(models.Upload.name, models.Upload.state, models.Upload.error)
        .where(
            models.Upload.dataset_id == dataset_id,
            models.Upload.state.in_((UploadState.RECEIVING, UploadState.FAILED)),
        )
        .order_by(models.Upload.id)
        .limit(LIMIT)
    )
    reasons = {row.name: row.error if row.state == UploadState.FAILED else _ARRIVING for row in missing}
    return {name: reason or "it could not be read" for name, reason in reasons.items()} or None


def note(connection: Connection, curation_id: str, left_out: dict[str, Any] | None) -> None:
    """Store with a curation what `find` returned when the curation was created."""
    connection.execute(
        update(models.Curation).where(models.Curation.id == curation_id).values(left_out=left_out)
    )
