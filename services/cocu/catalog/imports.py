"""Imports: uploads that the platform fetches itself."""

from __future__ import annotations

from sqlalchemy import update

from cocu.catalog import models
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import UploadState


@retry_on_outage
def note_received(catalog: Catalog, *, upload_id: str, received: int) -> None:
    """Store how many bytes of a file that is being fetched have arrived."""
    with catalog.write() as connection:
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id, models.Upload.state == UploadState.RECEIVING)
            .values(received=received)
        )
