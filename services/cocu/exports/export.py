"""One curation in one format: its shards are read one at a time, when their bytes are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np
import pyarrow as pa

from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.states import COMPLETED_CURATIONS
from cocu.errors import ConflictError
from cocu.exports.keys import KeysCache
from cocu.exports.metadata import read_metadata
from cocu.exports.parameters import ExportParameters
from cocu.exports.rows import EXPORTED, blocks, read_rows
from cocu.formats.images import media_type
from cocu.platform import Platform
from cocu.storage import image_hashes, paths

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


@dataclass(frozen=True)
class Export:
    """A completed curation, and the parameters of its export."""

    platform: Platform
    keys: KeysCache
    record: CurationRecord
    shards: tuple[CurationShardRecord, ...]
    parameters: ExportParameters

    @classmethod
    def of(
        cls, platform: Platform, keys: KeysCache, parameters: ExportParameters, *, tenant: str, curation: str
    ) -> Self:
        """The export of a curation. Raises NotFoundError; ConflictError while it has no archives."""
        record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS or record.content_hash is None:
            raise ConflictError(f"curation {curation} is {record.state}; export it when it is completed")
        shards = tuple(curations.shards(platform.catalog, curation_id=curation))
        return cls(platform, keys, record, shards, parameters)

    @property
    def content_hash(self) -> str:
        """The content hash of the curation."""
        assert self.record.content_hash is not None
        return self.record.content_hash

    def shard_exports(self) -> Iterator[ShardExport]:
        """Every shard in order."""
        return (ShardExport(self, shard) for shard in self.shards)


@dataclass(frozen=True)
class ShardExport:
    """A shard of an export; it keeps its table and the images of one block in memory.

    Reading raises NotFoundError when the data was deleted meanwhile, IntegrityError, UnavailableError.
    """

    export: Export
    shard: CurationShardRecord

    @cached_property
    def table(self) -> pa.Table:
        """Its samples; see `rows`."""
        export = self.export
        return read_rows(
            export.platform,
            export.keys,
            export.record,
            export.shards,
            self.shard,
            max_concepts=export.parameters.max_concepts,
        )

    def blocks(self) -> Iterator[tuple[pa.Table, list[memoryview], list[str]]]:
        """Blocks of rows with their images and extensions; without images both lists are empty."""
        path = paths.shard(self.export.record.dataset_id, self.shard.shard_id)
        first = 0
        for block in blocks(self.table):
            images: list[memoryview] = []
            if self.export.parameters.with_images:
                images = _allocate(block["size"].to_pylist())
                ranges = zip(block["offset"].to_pylist(), images, strict=True)
                present = [(offset, image) for offset, image in ranges if len(image)]
                # Before the read: the check remembers images as good by the identity of their file. Bytes of
                # an old file must not count as a check of the file that replaced it.
                identity = self.export.platform.objects.identity(path)
                self.export.platform.objects.read_into(path, present)
                self._check(path, first, images, identity)
            first += block.num_rows
            extensions = [_EXTENSIONS.get(media_type(bytes(image[:16])), "bin") for image in images]
            yield block, images, extensions

    def _check(self, path: str, first: int, images: list[memoryview], identity: object) -> None:
        rows_B = np.arange(first, first + len(images))
        image_hashes.check(
            self.export.platform.objects, path, rows_B, images.__getitem__, self._hashes, identity=identity
        )

    @cached_property
    def _hashes(self) -> pa.Array:
        """The SHA-256 of every image; empty, and never checked, for a sample without an image."""
        texts = self.table["sha256"].to_pylist()
        return pa.array([b"" if text is None else bytes.fromhex(text) for text in texts], pa.binary())

    def samples(self) -> Iterator[tuple[dict[str, Any], memoryview | None, str]]:
        """Every sample: its columns of EXPORTED by name, its image or None, its extension or ""."""
        for block, images, extensions in self.blocks():
            for index, row in enumerate(block.select(EXPORTED.names).to_pylist()):
                has_image = len(images) > 0 and len(images[index]) > 0
                yield row, images[index] if has_image else None, extensions[index] if has_image else ""

    def metadata(self) -> Iterator[dict[str, Any]]:
        """The metadata uploaded with each sample."""
        return read_metadata(
            self.export.platform,
            self.export.record.dataset_id,
            self.shard.shard_id,
            samples=self.shard.samples,
            sha256=self.shard.sha256,
        )


def _allocate(sizes: list[int]) -> list[memoryview]:
    """Buffers of these sizes, allocated as one piece."""
    whole = memoryview(bytearray(sum(sizes)))
    ends = list(accumulate(sizes))
    return [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
