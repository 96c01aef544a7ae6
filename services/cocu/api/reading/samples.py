"""Samples by key: what they are, and their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cocu.api import views
from cocu.api.reading.tables import TableCache
from cocu.client import models
from cocu.errors import NotFoundError
from cocu.platform import Platform
from cocu.storage import paths, tables
from cocu.storage.catalog import samples
from cocu.storage.catalog.records import Page
from cocu.storage.catalog.samples import SampleRecord

TABLES = 64


@dataclass(frozen=True)
class StoredImage:
    """Where the bytes of an image lie; `sha256` (hex) is theirs."""

    shard_path: str
    offset: int
    size: int
    sha256: str


class Samples:
    """Samples of every dataset of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._captions = TableCache(platform.objects, room=TABLES, columns=("key", "caption", "size"))

    def get(self, *, tenant: str, dataset: str, key: str) -> models.Sample:
        """One sample. Raises NotFoundError."""
        return self._sample(samples.find(self._platform.catalog, tenant=tenant, dataset_id=dataset, key=key))

    def list_page(self, *, tenant: str, dataset: str, limit: int, after: str | None) -> Page[models.Sample]:
        """The samples of a dataset by key."""
        found = samples.list_page(
            self._platform.catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=after
        )
        return Page(items=tuple(self._sample(record) for record in found.items), next=found.next)

    def image(self, *, tenant: str, dataset: str, key: str) -> StoredImage:
        """Where the image of a sample lies. Raises NotFoundError, also for one that came without."""
        record = samples.find(self._platform.catalog, tenant=tenant, dataset_id=dataset, key=key)
        row = self._row(record)
        if not row["size"]:
            raise NotFoundError(
                f"sample {key!r} came as an embedding, without its picture; there is no image of it"
            )
        return StoredImage(
            shard_path=paths.shard(dataset, record.shard_id),
            offset=row["offset"],
            size=row["size"],
            sha256=row["sha256"].hex(),
        )

    def bytes_of(self, image: StoredImage) -> bytes:
        """The image as it was uploaded."""
        return self._platform.objects.get_range(image.shard_path, image.offset, image.size)

    def key_and_caption(self, dataset: str, shard: str, row: int) -> tuple[str, str]:
        """The key and the caption of a row of a shard."""
        table = self._captions.table(paths.samples(dataset, shard))
        return table["key"][row].as_py(), table["caption"][row].as_py()

    def keys_and_captions(self, dataset: str, shard: str) -> list[tuple[str, str]]:
        """The key and the caption of every row of a shard."""
        table = self._captions.table(paths.samples(dataset, shard))
        return list(zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True))

    def pictures(self, dataset: str, shard: str, row: int) -> dict[str, str | None]:
        """The paths `image` and `thumbnail` of a row of a shard; None where it came without its picture."""
        table = self._captions.table(paths.samples(dataset, shard))
        return _paths(dataset, table["key"][row].as_py(), pictured=table["size"][row].as_py() > 0)

    def _row(self, record: SampleRecord) -> dict[str, Any]:
        path = paths.samples(record.dataset_id, record.shard_id)
        return dict(tables.read_row(self._platform.objects, path, record.row))

    def _sample(self, record: SampleRecord) -> models.Sample:
        row = self._row(record)
        pictured = row["size"] > 0
        return models.Sample(
            dataset=record.dataset_id,
            key=record.key,
            caption=row["caption"],
            width=row["width"] if pictured else None,
            height=row["height"] if pictured else None,
            bytes=row["size"],
            sha256=row["sha256"].hex() if pictured else None,
            shard=record.shard_id,
            row=record.row,
            **_paths(record.dataset_id, record.key, pictured=pictured),
        )


def _paths(dataset: str, key: str, *, pictured: bool) -> dict[str, str | None]:
    if not pictured:
        return {"image": None, "thumbnail": None}
    return {"image": views.image_path(dataset, key), "thumbnail": views.thumbnail_path(dataset, key)}
