"""Samples by key, and their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cocu import schemas
from cocu.api import serializers
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.shard_order import ShardOrder
from cocu.api.queries.tables import TableCache
from cocu.catalog import datasets, samples
from cocu.errors import NotFoundError
from cocu.platform import Platform
from cocu.storage import image_hashes, paths, tables

TABLES = 64
LISTED = 32
"""Shards whose columns are cached as a whole, 2 MB each where captions are as people write them."""
WHOLE_FROM = 32
"""From so many rows of a shard on, its columns are read as a whole."""


@dataclass(frozen=True)
class StoredImage:
    """Where the bytes of the image of a sample are stored, and their `sha256` (hex)."""

    dataset: str
    key: str
    shard_path: str
    row: int
    offset: int
    size: int
    sha256: str


class Samples:
    """Samples of every dataset of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._tables = TableCache(platform.objects, room=LISTED)
        self._layouts: LruCache[str, tables.Layout] = LruCache(TABLES)
        self._captions = TableCache(platform.objects, room=TABLES, columns=("key", "caption", "size"))

    def get(self, *, tenant: str, dataset: str, key: str) -> schemas.Sample:
        """Return one sample. Raises NotFoundError."""
        catalog = self._platform.catalog
        record = samples.find(catalog, tenant=tenant, dataset_id=dataset, key=key)
        order = ShardOrder(samples.shards(catalog, tenant=tenant, dataset_id=dataset))
        (values,) = self.rows(dataset, record.shard_id, [record.row])
        return self.sample(
            dataset,
            record.shard_id,
            record.row,
            values,
            global_row=order.global_row(record.shard_id, record.row),
        )

    def image(self, *, tenant: str, dataset: str, key: str) -> StoredImage:
        """Return where the image of a sample is stored. Raises NotFoundError, also where it has no image."""
        datasets.require(self._platform.catalog, tenant=tenant, dataset_id=dataset)
        record = samples.find(self._platform.catalog, tenant=tenant, dataset_id=dataset, key=key)
        (row,) = self.rows(dataset, record.shard_id, [record.row])
        if not row["size"]:
            raise NotFoundError(f"sample {key!r} came as an embedding, without its image")
        return StoredImage(
            dataset=dataset,
            key=key,
            shard_path=paths.shard(dataset, record.shard_id),
            row=record.row,
            offset=row["offset"],
            size=row["size"],
            sha256=row["sha256"].hex(),
        )

    def bytes_of(self, image: StoredImage) -> bytes:
        """Return the image as it was uploaded. Raises IntegrityError where it is damaged."""
        data = self._platform.objects.get_range(image.shard_path, image.offset, image.size)
        image_hashes.check_one(image.shard_path, image.row, data, bytes.fromhex(image.sha256))
        return data

    def key_and_caption(self, dataset: str, shard: str, row: int) -> tuple[str, str]:
        """Return the key and the caption of a row of a shard."""
        table = self._captions.table(paths.samples(dataset, shard))
        return table["key"][row].as_py(), table["caption"][row].as_py()

    def keys(self, dataset: str, shard: str) -> list[str]:
        """Return the key of every row of a shard."""
        keys: list[str] = self._captions.table(paths.samples(dataset, shard))["key"].to_pylist()
        return keys

    def keys_and_captions(self, dataset: str, shard: str) -> list[tuple[str, str]]:
        """Return the key and the caption of every row of a shard."""
        table = self._captions.table(paths.samples(dataset, shard))
        return list(zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True))

    def image_paths(self, dataset: str, shard: str, row: int) -> dict[str, str | None]:
        """Return the paths `image` and `thumbnail` of a row of a shard; None where it has no image."""
        table = self._captions.table(paths.samples(dataset, shard))
        return _paths(dataset, table["key"][row].as_py(), has_image=table["size"][row].as_py() > 0)

    def sample(
        self, dataset: str, shard: str, row: int, values: Mapping[str, Any], *, global_row: int | None
    ) -> schemas.Sample:
        """Return a sample from the values of its row, as `rows` has them."""
        has_image = values["size"] > 0
        return schemas.Sample(
            dataset=dataset,
            key=values["key"],
            caption=values["caption"],
            width=values["width"] if has_image else None,
            height=values["height"] if has_image else None,
            bytes=values["size"],
            sha256=values["sha256"].hex() if has_image else None,
            shard=shard,
            row=row,
            global_row=global_row,
            **_paths(dataset, values["key"], has_image=has_image),
        )

    def rows(self, dataset: str, shard: str, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        """Return rows of a shard's sample table, in this order.

        Many rows are taken from whole columns, which stay cached; a few, where these are not cached, are
        read one by one: a millisecond each, in place of thirty for the whole. Raises NotFoundError,
        IntegrityError.
        """
        objects, path = self._platform.objects, paths.samples(dataset, shard)
        table = self._tables.find(path) if len(rows) < WHOLE_FROM else self._tables.table(path)
        if table is None:
            layout = self._layouts.get(path, lambda: tables.read_layout(objects, path))
            return [tables.read_row(objects, path, row, layout=layout) for row in rows]
        if max(rows, default=0) >= table.num_rows:
            raise NotFoundError(f"{path} has {table.num_rows} rows; there is no row {max(rows)}")
        taken: list[Mapping[str, Any]] = table.take(pa.array(rows, pa.int64())).to_pylist()
        return taken


def _paths(dataset: str, key: str, *, has_image: bool) -> dict[str, str | None]:
    if not has_image:
        return {"image": None, "thumbnail": None}
    return {
        "image": serializers.image_path(dataset, key),
        "thumbnail": serializers.thumbnail_path(dataset, key),
    }
