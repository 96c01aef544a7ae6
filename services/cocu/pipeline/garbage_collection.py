"""Deletes orphans: files that no row of the catalog names, left by attempts that failed or lost their lease.

Only in datasets that the catalog knows; only files older than a day, because no attempt runs that long; and
only while nothing is being ingested, because an attempt may write a shard again under its old name. An ingest
stores its result under the lock of the dataset. That lock is held here, so no row can appear for a file that
is just being deleted.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from sqlalchemy import Connection, select

from cocu.catalog import Catalog, datasets, models, resumables
from cocu.catalog.states import UNFINISHED_TASKS, DatasetState
from cocu.pipeline import stages
from cocu.platform import Platform
from cocu.storage import paths

OLD_SECONDS = 24 * 3600.0
FILES_PER_LOCK = 200
"""The number of files deleted under one lock, so that nobody waits long for the lock."""


def delete_orphans(platform: Platform, *, dataset_id: str, older_than: float = OLD_SECONDS) -> list[str]:
    """Delete the orphans in the folder of a dataset; return their paths."""
    folder = paths.dataset(dataset_id)
    old = platform.objects.list(folder, older_than=older_than)
    deleted: list[str] = []
    for start in range(0, len(old), FILES_PER_LOCK):
        with platform.catalog.write() as connection:
            if datasets.lock(connection, dataset_id=dataset_id) != DatasetState.ACTIVE:
                return deleted
            if _is_ingesting(connection, dataset_id):
                return deleted
            files, shards = _named_files(connection, dataset_id)
            for path in old[start : start + FILES_PER_LOCK]:
                if path not in files and _is_orphan(path, folder, shards):
                    platform.objects.delete(path)
                    deleted.append(path)
    return deleted


def delete_partial_uploads(platform: Platform, *, older_than: float = OLD_SECONDS) -> int:
    """Delete the files of resumable uploads that are not open any more; return their number."""
    tokens = platform.partial_uploads.find_stale(after_seconds=older_than)
    open_tokens = resumables.open_among(platform.catalog, tokens)
    abandoned = [token for token in tokens if token not in open_tokens]
    for token in abandoned:
        platform.partial_uploads.discard(token)
    return len(abandoned)


def active_datasets(catalog: Catalog) -> list[str]:
    """Return the ids of the datasets in which orphans may be deleted, of all tenants."""
    statement = select(models.Dataset.id).where(models.Dataset.state == DatasetState.ACTIVE)
    with catalog.read() as connection:
        return list(connection.execute(statement).scalars())


def _is_orphan(path: str, folder: str, shards: set[str]) -> bool:
    kind, *inside = PurePosixPath(path).relative_to(folder).parts
    if kind in ("uploads", "labels"):
        return True
    expected = {"shards": 1, "samples": 1, "embeddings": 2, "fingerprints": 2}
    return expected.get(kind) == len(inside) and PurePosixPath(inside[-1]).stem not in shards


def _is_ingesting(connection: Connection, dataset_id: str) -> bool:
    statement = select(models.Task.id).where(
        models.Task.dataset_id == dataset_id,
        models.Task.stage.in_(spec.name for spec in stages.STAGES.values() if spec.unit == "upload"),
        models.Task.state.in_(UNFINISHED_TASKS),
    )
    return connection.execute(statement.limit(1)).first() is not None


def _named_files(connection: Connection, dataset_id: str) -> tuple[set[str], set[str]]:
    """Return what the catalog names: paths of uploads and of kept labels, and ids of shards."""
    uploads = select(models.Upload.object_path).where(models.Upload.dataset_id == dataset_id)
    labels = select(models.LabelSet.document).where(models.LabelSet.dataset_id == dataset_id)
    shards = select(models.Shard.id).where(models.Shard.dataset_id == dataset_id)
    files = [*connection.execute(uploads).scalars(), *connection.execute(labels).scalars()]
    return {path for path in files if path is not None}, set(connection.execute(shards).scalars())
