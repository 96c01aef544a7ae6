"""Files of attempts that did not count: nothing names them, so nobody would ever delete them.

Only within datasets that the catalog knows, only what is older than a day (no attempt lives that long), and
shards only while nothing is being ingested: an attempt may write a shard again under its old name, and counts
under the lock of the dataset, which is held meanwhile.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from sqlalchemy import Connection, select

from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import Catalog, datasets, models
from cocu.storage.catalog.states import UNFINISHED_CHUNKS, DatasetState, Stage

OLD_SECONDS = 24 * 3600.0
AT_ONCE = 200
"""Files that are deleted under one lock."""


def delete_orphans(platform: Platform, *, dataset_id: str, older_than: float = OLD_SECONDS) -> list[str]:
    """Deletes what lies in a dataset's folder and no row of the catalog names; returns the paths."""
    folder = paths.dataset(dataset_id)
    old = platform.objects.list(folder, older_than=older_than)
    deleted: list[str] = []
    for start in range(0, len(old), AT_ONCE):
        with platform.catalog.write() as connection:
            if datasets.lock(connection, dataset_id=dataset_id) != DatasetState.ACTIVE:
                return deleted
            if _ingesting(connection, dataset_id):
                return deleted
            uploads, shards = _named(connection, dataset_id)
            for path in old[start : start + AT_ONCE]:
                if path not in uploads and _is_orphan(path, folder, shards):
                    platform.objects.delete(path)
                    deleted.append(path)
    return deleted


def looked_after(catalog: Catalog) -> list[str]:
    """The ids of the datasets in which orphans may be deleted, of all tenants."""
    statement = select(models.Dataset.id).where(models.Dataset.state == DatasetState.ACTIVE)
    with catalog.read() as connection:
        return list(connection.execute(statement).scalars())


def _is_orphan(path: str, folder: str, shards: set[str]) -> bool:
    kind, *inside = PurePosixPath(path).relative_to(folder).parts
    if kind == "uploads":
        return True
    expected = {"shards": 1, "samples": 1, "embeddings": 2, "fingerprints": 2}
    return expected.get(kind) == len(inside) and PurePosixPath(inside[-1]).stem not in shards


def _ingesting(connection: Connection, dataset_id: str) -> bool:
    statement = select(models.Chunk.id).where(
        models.Chunk.dataset_id == dataset_id,
        models.Chunk.stage.in_((Stage.FETCH, Stage.INGEST)),
        models.Chunk.state.in_(UNFINISHED_CHUNKS),
    )
    return connection.execute(statement.limit(1)).first() is not None


def _named(connection: Connection, dataset_id: str) -> tuple[set[str], set[str]]:
    uploads = select(models.Upload.object_path).where(models.Upload.dataset_id == dataset_id)
    shards = select(models.Shard.id).where(models.Shard.dataset_id == dataset_id)
    found = connection.execute(uploads).scalars()
    return {path for path in found if path is not None}, set(connection.execute(shards).scalars())
