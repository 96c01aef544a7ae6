"""One curation in one format: its shards, read one at a time when their bytes are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import pyarrow as pa

from cocu.datasets.images import media_type
from cocu.errors import ConflictError
from cocu.exports.keys import KeysCache
from cocu.exports.metadata import read_metadata
from cocu.exports.parameters import ExportParameters
from cocu.exports.rows import EXPORTED, blocks, read_rows
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import curations
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.states import COMPLETED_CURATIONS

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


@dataclass(frozen=True)
class Export:
    """A completed curation, and what of it is exported in which form."""

    platform: Platform
    keys: KeysCache
    record: CurationRecord
    shards: tuple[CurationShardRecord, ...]
    parameters: ExportParameters

    @classmethod
    def of(
        cls, platform: Platform, keys: KeysCache, parameters: ExportParameters, *, tenant: str, curation: str
    ) -> Self:
        """The export asked for. Raises NotFoundError, ConflictError while the curation has no archives."""
        record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS or record.content_hash is None:
            raise ConflictError(f"curation {curation} is {record.state}; export it when it is completed")
        shards = tuple(curations.shards(platform.catalog, curation_id=curation))
        return cls(platform, keys, record, shards, parameters)

    @property
    def content_hash(self) -> str:
        """What the curation came to."""
        assert self.record.content_hash is not None
        return self.record.content_hash

    def shard_exports(self) -> Iterator[ShardExport]:
        """Every shard in order."""
        return (ShardExport(self, shard) for shard in self.shards)


@dataclass(frozen=True)
class ShardExport:
    """A shard of an export; in memory are its table and the images of one block.

    Reading raises NotFoundError when the data is deleted meanwhile, IntegrityError, UnavailableError.
    """

    export: Export
    shard: CurationShardRecord

    @cached_property
    def table(self) -> pa.Table:
        """Its samples; see `rows`."""
        of = self.export
        return read_rows(
            of.platform, of.keys, of.record, of.shards, self.shard, max_concepts=of.parameters.max_concepts
        )

    def blocks(self) -> Iterator[tuple[pa.Table, list[memoryview], list[str]]]:
        """Some rows of the table at a time, their images, and the extensions of these; none if not wanted."""
        path = paths.shard(self.export.record.dataset_id, self.shard.shard_id)
        for block in blocks(self.table):
            images: list[memoryview] = []
            if self.export.parameters.with_images:
                images = _room(block["size"].to_pylist())
                ranges = zip(block["offset"].to_pylist(), images, strict=True)
                present = [(offset, image) for offset, image in ranges if len(image)]
                self.export.platform.objects.read_into(path, present)
            yield block, images, [_EXTENSIONS.get(media_type(bytes(each[:16])), "bin") for each in images]

    def samples(self) -> Iterator[tuple[dict[str, Any], memoryview | None, str]]:
        """Every sample: the columns of EXPORTED by name, its image if wanted and there, and its extension."""
        for block, images, extensions in self.blocks():
            for place, row in enumerate(block.select(EXPORTED.names).to_pylist()):
                pictured = len(images) > 0 and len(images[place]) > 0
                yield row, images[place] if pictured else None, extensions[place] if pictured else ""

    def metadata(self) -> Iterator[dict[str, Any]]:
        """What came with each sample."""
        return read_metadata(
            self.export.platform,
            self.export.record.dataset_id,
            self.shard.shard_id,
            samples=self.shard.samples,
        )


def _room(sizes: list[int]) -> list[memoryview]:
    """Memory for things of these sizes, in one piece."""
    whole = memoryview(bytearray(sum(sizes)))
    ends = list(accumulate(sizes))
    return [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
