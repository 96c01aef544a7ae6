"""One rank's part of an epoch, batch by batch; nothing is read before it is asked for.

Order and draws are pure functions of (content hash of the curation, seed, epoch): two platforms that hold the
same curation give the same stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from cocu.batches import images
from cocu.batches.columns import ColumnsCache
from cocu.batches.drawing import Chosen, drawn_columns
from cocu.batches.parameters import BatchParameters
from cocu.curation.archives import Ids
from cocu.curation.sample_order import SampleOrder, batch_count, rank_share, sample_order
from cocu.errors import ConflictError, InvalidInputError
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import curations
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.states import COMPLETED_CURATIONS

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
        """The epoch asked for.

        Raises NotFoundError without the curation, ConflictError while it has no archives, InvalidInputError
        for a start behind the last batch.
        """
        record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
        if record.state not in COMPLETED_CURATIONS or record.content_hash is None:
            raise ConflictError(
                f"curation {curation} is {record.state}; batches can be read when it is completed"
            )
        shards = tuple(curations.shards(platform.catalog, curation_id=curation))
        made = cls(platform, cache, record, shards, parameters)
        if parameters.start > made.batch_count:
            raise InvalidInputError(
                "The stream would begin behind its end.",
                {"query.start": f"must be in 0..{made.batch_count}: this epoch has so many batches"},
            )
        return made

    @property
    def content_hash(self) -> str:
        """What order and draws are functions of."""
        assert self.record.content_hash is not None
        return self.record.content_hash

    @cached_property
    def batch_count(self) -> int:
        """Global batches of the whole epoch."""
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
        """The columns of a batch, and as metadata what the stream is made of."""
        asked = self.parameters
        fields = [("key", pa.string()), ("caption", pa.string())]
        if asked.images:
            fields += [("image", pa.large_binary()), ("format", pa.string())]
        fields += [
            ("drawn", pa.int32()),
            ("concepts", _LIST_OF_TEXTS),
            ("concept_ids", pa.list_(pa.int32())),
            ("texts", _LIST_OF_TEXTS),
        ]
        if asked.include_scores:
            fields.append(("scores", pa.list_(pa.float32())))
        metadata = {name: str(value) for name, value in self.description.items()}
        # Samples that came as embeddings have no picture.
        optional = ("image", "format")
        return pa.schema(
            [pa.field(name, kind, nullable=name in optional) for name, kind in fields], metadata=metadata
        )

    @property
    def description(self) -> dict[str, Any]:
        """What the stream is made of."""
        asked = self.parameters
        return {
            "curation": self.record.id,
            "content_hash": self.content_hash,
            "seed": asked.seed,
            "epoch": asked.epoch,
            "samples": len(self.order),
            "batches": self.batch_count,
            "global_batch": asked.global_batch,
            "rank": asked.rank,
            "world_size": asked.world_size,
            "start": asked.start,
        }

    def batches(self) -> Iterator[pa.RecordBatch]:
        """This rank's part of every global batch from `start` on, of `schema`; the last may be shorter, down
        to none.

        Raises NotFoundError when the data is deleted meanwhile, IntegrityError, UnavailableError.
        """
        asked = self.parameters
        for rows in self.order.batches(asked.global_batch, start=asked.start, drop_last=asked.drop_last):
            yield self._batch(rank_share(rows, rank=asked.rank, world_size=asked.world_size))

    def _batch(self, rows_B: Ids) -> pa.RecordBatch:
        # By shard and row, so that every shard is read forwards; then back into the epoch's order.
        ascending_B = np.argsort(rows_B, kind="stable")
        back = pa.array(np.argsort(ascending_B, kind="stable"))
        parts = self._by_shard(rows_B[ascending_B])
        drawn = drawn_columns(
            list(parts.values()),
            self.parameters,
            curation_hash=self.content_hash,
            names=self.platform.vocabularies.of_hash(self.record.vocabulary_hash).names,
        )
        columns = {name: column.take(back) for name, column in drawn.items()}
        if self.parameters.images:
            columns |= self._images(parts, ascending_B)
        return pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)

    def _by_shard(self, rows_B: Ids) -> dict[str, Chosen]:
        firsts = np.array([shard.first_row for shard in self.shards])
        shards_B = np.searchsorted(firsts, rows_B, side="right") - 1
        return {
            (shard := self.shards[ordinal]).shard_id: Chosen(
                self.cache.columns(self.record, shard), rows_B[shards_B == ordinal] - shard.first_row
            )
            for ordinal in np.unique(shards_B).tolist()
        }

    def _images(self, parts: dict[str, Chosen], ascending_B: Ids) -> dict[str, pa.Array]:
        """The images of samples that come by shard and row, each put where its sample is in the batch."""
        sizes_B = np.empty(len(ascending_B), np.int64)
        sizes_B[ascending_B] = np.concatenate(
            [part.columns.image_sizes_N[part.rows_B] for part in parts.values()] or [np.empty(0, np.int64)]
        )
        found = images.Images(sizes_B)
        place = 0
        for shard, part in parts.items():
            offsets = part.columns.image_offsets_N[part.rows_B].tolist()
            places = ascending_B[place : place + len(offsets)].tolist()
            targets = [found.target(each) for each in places]
            path = paths.shard(self.record.dataset_id, shard)
            ranges = zip(offsets, targets, strict=True)
            self.platform.objects.read_into(path, [each for each in ranges if len(each[1])])
            place += len(offsets)
        if self.parameters.size is not None:
            found = images.resized(found, side=self.parameters.size, limits=self.platform.limits)
        return {"image": found.column(), "format": pa.array(found.extensions(), pa.string())}
