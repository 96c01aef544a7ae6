"""Curations of the same dataset and encoder that completed: what a later one may build on."""

from __future__ import annotations

from cocu.storage.catalog import models
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_all, select_record
from cocu.storage.catalog.repeating import repeated
from cocu.storage.catalog.states import CurationState


@repeated
def completed(catalog: Catalog, *, curation: CurationRecord, most: int = 50) -> list[CurationRecord]:
    """Other curations of no more samples that completed without errors.

    The latest to finish comes first; there are no more than `most`.
    """
    statement = (
        select_record(CurationRecord, models.Curation)
        .where(
            models.Curation.tenant == curation.tenant,
            models.Curation.dataset_id == curation.dataset_id,
            models.Curation.encoder_hash == curation.encoder_hash,
            models.Curation.state == CurationState.COMPLETED,
            models.Curation.samples <= curation.samples,
            models.Curation.id != curation.id,
        )
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(most)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationRecord, statement)
