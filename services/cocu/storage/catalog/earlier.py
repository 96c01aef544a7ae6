"""Curations of the same dataset and encoder that completed: what a later one may build on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from cocu.storage.catalog import curations, models
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.engine import Catalog
from cocu.storage.catalog.records import fetch_all, select_record
from cocu.storage.catalog.states import CurationState


@dataclass(frozen=True)
class EarlierRun:
    """A completed curation with its snapshot."""

    curation: CurationRecord
    shards: tuple[CurationShardRecord, ...]


def completed(catalog: Catalog, *, curation: CurationRecord, most: int = 50) -> list[EarlierRun]:
    """Other curations that completed without errors and whose shards are all in this one's snapshot.

    The latest to finish comes first; no more than `most` of the dataset's are looked at.
    """
    statement = (
        select_record(CurationRecord, models.Curation)
        .where(
            models.Curation.tenant == curation.tenant,
            models.Curation.dataset_id == curation.dataset_id,
            models.Curation.encoder_hash == curation.encoder_hash,
            models.Curation.state == CurationState.COMPLETED,
            models.Curation.id != curation.id,
        )
        .order_by(models.Curation.finished_at.desc(), models.Curation.id)
        .limit(most)
    )
    own = select(models.CurationShard.shard_id).where(models.CurationShard.curation_id == curation.id)
    with catalog.read() as connection:
        present = set(connection.execute(own).scalars())
        records = fetch_all(connection, CurationRecord, statement)
    runs = (
        EarlierRun(one, tuple(curations.shards(catalog, curation_id=one.id)))
        for one in records
        if one.samples <= curation.samples
    )
    return [run for run in runs if {shard.shard_id for shard in run.shards} <= present]
