"""Curations of the same dataset and encoder that completed: a later one may reuse their results."""

from __future__ import annotations

from cocu.catalog import models
from cocu.catalog.curations import CurationRecord
from cocu.catalog.engine import Catalog
from cocu.catalog.records import fetch_all, select_record
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.states import CurationState


@retry_on_outage
def of_inputs(
    catalog: Catalog,
    *,
    tenant: str,
    dataset_id: str,
    snapshot: str,
    encoder_hash: str,
    vocabulary_hash: str,
    limit: int = 50,
) -> list[CurationRecord]:
    """Curations of the same samples, encoder and vocabulary that completed without errors, latest first."""
    statement = (
        select_record(CurationRecord, models.Curation)
        .where(
            models.Curation.tenant == tenant,
            models.Curation.dataset_id == dataset_id,
            models.Curation.snapshot_hash == snapshot,
            models.Curation.encoder_hash == encoder_hash,
            models.Curation.vocabulary_hash == vocabulary_hash,
            models.Curation.state == CurationState.COMPLETED,
        )
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(limit)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationRecord, statement)


@retry_on_outage
def completed(catalog: Catalog, *, curation: CurationRecord, limit: int = 50) -> list[CurationRecord]:
    """Other curations of no more samples that completed without errors.

    The latest to finish comes first; at most `limit`.
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
        .limit(limit)
    )
    with catalog.read() as connection:
        return fetch_all(connection, CurationRecord, statement)
