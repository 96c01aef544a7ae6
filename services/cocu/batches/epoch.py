"""One rank's part of an epoch, batch by batch, read on demand.

Order and draws are pure functions of (content hash of the curation, seed, epoch): two platforms that hold the
same curation give the same stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from cocu.batches import images
from cocu.batches.assemble import ShardRows, draw_columns
from cocu.batches.parameters import BatchParameters
from cocu.batches.shard_cache import ColumnsCache
from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.states import COMPLETED_CURATIONS
from cocu.curation.archives import Ids
from cocu.curation.sample_order import SampleOrder, batch_count, rank_share, sample_order
from cocu.errors import ConflictError, InvalidInputError
from cocu.platform import Platform
from cocu.storage import image_hashes, paths
from cocu.storage.ranges import RangeReads

ROWS_TOGETHER = 8192
"""The number of samples, in whole batches and over all ranks, whose concepts are drawn at a time."""

_LIST_OF_TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class Epoch:
    """One rank's part of an epoch of a completed curation."""

    platform: Platform
    cache: ColumnsCache
    record: CurationRecord
    shards: tuple[CurationShardRecord, ...]
    parameters: BatchParameters

    @classmethod
    def of(
        cls,
        platform: Platform,
        cache: ColumnsCache,
        parameters: BatchParameters,
        *,
        tenant: str,
        curation: str,
    ) -> Epoch:
        """Open the epoch of a curation.

        Raises NotFoundError when there is no such curation, ConflictError while it has no archives,
        InvalidInputError for a start behind the last batch.
        """
        record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS or record.content_hash is None:
            raise ConflictError(
                f"curation {curation} is {record.state}; batches can be read when it is completed"
            )
        shards = tuple(curations.shards(platform.catalog, curation_id=curation))
        epoch = cls(platform, cache, record, shards, parameters)
        if parameters.start > epoch.batch_count:
            raise InvalidInputError(
                "The stream would begin behind its end.",
                {"query.start": f"must be in 0..{epoch.batch_count}, the number of batches of this epoch"},
            )
        return epoch

    @property
    def content_hash(self) -> str:
        """The content hash of the curation, which determines order and draws."""
        assert self.record.content_hash is not None
        return self.record.content_hash

    @cached_property
    def batch_count(self) -> int:
        """The number of global batches of the whole epoch."""
        return batch_count(len(self.order), self.parameters.global_batch, drop_last=self.parameters.drop_last)

    @cached_property
    def order(self) -> SampleOrder:
        """The order of all samples."""
        return sample_order(
            [shard.samples for shard in self.shards],
            curation_hash=self.content_hash,
            seed=self.parameters.seed,
            epoch=self.parameters.epoch,
        )

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of a batch, with the description of the stream as metadata."""
        parameters = self.parameters
        fields = [("key", pa.string()), ("caption", pa.string())]
        if parameters.images:
            fields += [("image", pa.large_binary()), ("format", pa.string())]
        fields += [
            ("drawn", pa.int32()),
            ("concepts", _LIST_OF_TEXTS),
            ("concept_ids", pa.list_(pa.int32())),
            ("texts", _LIST_OF_TEXTS),
        ]
        if parameters.include_scores:
            fields.append(("scores", pa.list_(pa.float32())))
        metadata = {name: str(value) for name, value in self.description.items()}
        # Samples that were uploaded as embeddings have no image.
        optional = ("image", "format")
        return pa.schema(
            [pa.field(name, kind, nullable=name in optional) for name, kind in fields], metadata=metadata
        )

    @property
    def description(self) -> dict[str, Any]:
        """The description of the stream: curation, seed, epoch, rank and sizes."""
        parameters = self.parameters
        return {
            "curation": self.record.id,
            "content_hash": self.content_hash,
            "seed": parameters.seed,
            "epoch": parameters.epoch,
            "samples": len(self.order),
            "batches": self.batch_count,
            "global_batch": parameters.global_batch,
            "rank": parameters.rank,
            "world_size": parameters.world_size,
            "start": parameters.start,
        }

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield this rank's part of every global batch from `start` on; the last may be shorter, or empty.

        Raises NotFoundError when the data is deleted in the meantime, IntegrityError, UnavailableError.
        """
        for shares in self._grouped_shares():
            parts = self._by_shard(np.concatenate(shares))
            drawn = draw_columns(
                parts,
                self.parameters,
                curation_hash=self.content_hash,
                names=self.cache.names(self.record),
            )
            position = 0
            for rows_B in shares:
                columns = {name: column.slice(position, len(rows_B)) for name, column in drawn.items()}
                if self.parameters.images:
                    columns |= self._images(rows_B)
                position += len(rows_B)
                yield pa.RecordBatch.from_arrays(
                    [columns[name] for name in self.schema.names], schema=self.schema
                )

    def _grouped_shares(self) -> Iterator[list[Ids]]:
        """Yield groups of batches, each batch as this rank's rows: drawing for many samples at once is
        faster."""
        parameters = self.parameters
        batches = max(1, ROWS_TOGETHER // parameters.global_batch)
        shares = (
            rank_share(rows, rank=parameters.rank, world_size=parameters.world_size)
            for rows in self.order.batches(
                parameters.global_batch, start=parameters.start, drop_last=parameters.drop_last
            )
        )
        while group := list(islice(shares, batches)):
            yield group

    @cached_property
    def _first_rows(self) -> Ids:
        return np.array([shard.first_row for shard in self.shards], np.int64)

    def _by_shard(self, rows_B: Ids) -> list[ShardRows]:
        """Group samples by shard and sort them by row, so that every shard is read forwards."""
        ascending_B = np.argsort(rows_B, kind="stable")
        sorted_B = rows_B[ascending_B]
        shards_B = np.searchsorted(self._first_rows, sorted_B, side="right") - 1
        bounds = [0, *(np.flatnonzero(np.diff(shards_B)) + 1).tolist(), len(rows_B)]
        return [
            self._shard_rows(self.shards[shards_B[start]], sorted_B[start:stop], ascending_B[start:stop])
            for start, stop in pairwise(bounds)
            if start < stop
        ]

    def _shard_rows(self, shard: CurationShardRecord, rows_B: Ids, positions_B: Ids) -> ShardRows:
        return ShardRows(shard, self.cache.columns(self.record, shard), rows_B - shard.first_row, positions_B)

    def _images(self, rows_B: Ids) -> dict[str, pa.Array]:
        parts = self._by_shard(rows_B)
        sizes_B = np.empty(len(rows_B), np.int64)
        for part in parts:
            sizes_B[part.positions_B] = part.columns.image_sizes_N[part.rows_B]
        batch_images = images.Images(sizes_B)
        objects = self.platform.objects
        identities = [objects.identity(self._tar(part)) for part in parts]
        objects.read_all_into([self._reads(part, batch_images) for part in parts])
        for part, identity in zip(parts, identities, strict=True):
            self._check(part, batch_images, identity)
        if self.parameters.size is not None:
            batch_images = images.resize(
                batch_images,
                side=self.parameters.size,
                limits=self.platform.limits,
                pixels=self.platform.pixels,
            )
        return {"image": batch_images.column(), "format": pa.array(batch_images.extensions(), pa.string())}

    def _reads(self, part: ShardRows, batch_images: images.Images) -> RangeReads:
        offsets = part.columns.image_offsets_N[part.rows_B].tolist()
        targets = map(batch_images.target, part.positions_B.tolist())
        # Samples that were uploaded as embeddings have no image.
        ranges = [(offset, target) for offset, target in zip(offsets, targets, strict=True) if target]
        return RangeReads(self._tar(part), part.columns.tar_bytes, ranges)

    def _check(self, part: ShardRows, batch_images: images.Images, identity: object) -> None:
        image_hashes.check(
            self.platform.objects,
            self._tar(part),
            part.rows_B,
            lambda position: batch_images.target(int(part.positions_B[position])),
            part.columns.image_hashes_N,
            identity=identity,
        )

    def _tar(self, part: ShardRows) -> str:
        return paths.shard(self.record.dataset_id, part.shard.shard_id)
