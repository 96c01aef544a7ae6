"""The result of an ingest: rows for the shards and samples of an upload, and the owners of their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from cocu.catalog import datasets, events, models, rejections, samples, tasks
from cocu.catalog.db_time import database_seconds
from cocu.catalog.engine import Catalog
from cocu.catalog.retry import retry_on_outage
from cocu.catalog.samples import NewShard
from cocu.catalog.states import DatasetState, Stage, UploadState
from cocu.catalog.tasks import TaskRef


@retry_on_outage
def store_ingested(
    catalog: Catalog,
    *,
    task_id: str,
    owner: str,
    upload_id: str,
    shards: Sequence[NewShard],
    rejected: Sequence[rejections.NewRejection],
    reading: Mapping[str, Any] | None = None,
) -> list[TaskRef]:
    """Store the shards of an upload and end its task; return the tasks to enqueue.

    reading: the format and columns that were found in the file. The earlier upload owns a key, whichever was
    ingested first. So if a later upload holds one of these keys, it is ingested again (its task is returned).
    If an earlier upload has got one of the keys in the meantime, this upload is ingested again. Does nothing
    if the lease was lost or the dataset is being deleted.
    """
    with catalog.write() as connection:
        of_upload = select(models.Upload.__table__).where(models.Upload.id == upload_id)
        upload = connection.execute(of_upload).one_or_none()
        if upload is None or datasets.lock(connection, dataset_id=upload.dataset_id) != DatasetState.ACTIVE:
            return []
        # Checked under the lock of the dataset: a worker that lost its lease must not replace the rows that
        # its successor has written.
        if not tasks.holds(connection, task_id=task_id, owner=owner):
            return []
        dataset_id, ordinal = upload.dataset_id, upload.ordinal
        keys = [key for shard in shards for key in shard.keys]
        other_ordinals = {
            key_owner for _, key_owner in samples.owners(connection, dataset_id=dataset_id, keys=keys)
        } - {ordinal}
        if any(other < ordinal for other in other_ordinals):
            # An earlier upload was ingested after this one had looked up which keys are taken. The new shards
            # hold samples that now belong to that upload, so the file is read again.
            tasks.restart(connection, task_id=task_id)
            return [(task_id, Stage.INGEST)]
        # Later uploads that hold keys of this one are read again, now without these keys.
        task_refs = [
            _ingest_again(connection, dataset_id=dataset_id, ordinal=other)
            for other in sorted(other_ordinals)
        ]
        # The rows of an earlier ingest of the same upload are replaced, so that a repeated task adds nothing.
        samples.forget(connection, dataset_id=dataset_id, upload_id=upload_id)
        samples.remember(connection, upload=upload, shards=shards)
        rejections.replace(
            connection,
            tenant=upload.tenant,
            dataset_id=dataset_id,
            upload_id=upload_id,
            owner_key="",
            new=rejected,
        )
        connection.execute(delete(models.Rejection).where(models.Rejection.retried_by == upload_id))
        connection.execute(
            update(models.Upload)
            .where(models.Upload.id == upload_id)
            .values(
                state=UploadState.INGESTED,
                accepted=len(keys),
                error=None,
                reading=None if reading is None else dict(reading),
                finished_at=database_seconds(),
            )
        )
        events.add_uploads(connection, [upload_id])
        tasks.close(connection, task_id=task_id)
        return task_refs


def _ingest_again(connection: Connection, *, dataset_id: str, ordinal: int) -> TaskRef:
    where = (models.Upload.dataset_id == dataset_id, models.Upload.ordinal == ordinal)
    upload_id = connection.execute(select(models.Upload.id).where(*where)).scalar_one()
    samples.forget(connection, dataset_id=dataset_id, upload_id=upload_id)
    connection.execute(update(models.Upload).where(*where).values(state=UploadState.RECEIVED, accepted=0))
    events.add_uploads(connection, [upload_id])
    task_id = tasks.identity(dataset_id=dataset_id, owner_key="", stage=Stage.INGEST, target=upload_id)
    tasks.restart(connection, task_id=task_id)
    return task_id, Stage.INGEST
