"""One rank's part of an epoch, batch by batch; nothing is read before it is asked for.

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
from cocu.storage.ranges import RangeReads

ROWS_TOGETHER = 8192
"""Samples of whole batches, over all ranks, that are drawn for at a time."""

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
        for shares in self._stretches():
            parts = self._by_shard(np.concatenate(shares))
            drawn = drawn_columns(
                parts,
                self.parameters,
                curation_hash=self.content_hash,
                names=self.cache.names(self.record),
            )
            place = 0
            for rows_B in shares:
                columns = {name: column.slice(place, len(rows_B)) for name, column in drawn.items()}
                if self.parameters.images:
                    columns |= self._images(rows_B)
                place += len(rows_B)
                yield pa.RecordBatch.from_arrays(
                    [columns[name] for name in self.schema.names], schema=self.schema
                )

    def _stretches(self) -> Iterator[list[Ids]]:
        """This rank's rows of one batch after the other, of several batches together: what is drawn for many
        samples at a time costs each of them less."""
        asked = self.parameters
        several = max(1, ROWS_TOGETHER // asked.global_batch)
        shares = (
            rank_share(rows, rank=asked.rank, world_size=asked.world_size)
            for rows in self.order.batches(asked.global_batch, start=asked.start, drop_last=asked.drop_last)
        )
        while together := list(islice(shares, several)):
            yield together

    @cached_property
    def _first_rows(self) -> Ids:
        return np.array([shard.first_row for shard in self.shards], np.int64)

    def _by_shard(self, rows_B: Ids) -> list[Chosen]:
        """Samples by shard, and by row within it, so that every shard is read forwards."""
        ascending_B = np.argsort(rows_B, kind="stable")
        sorted_B = rows_B[ascending_B]
        shards_B = np.searchsorted(self._first_rows, sorted_B, side="right") - 1
        bounds = [0, *(np.flatnonzero(np.diff(shards_B)) + 1).tolist(), len(rows_B)]
        return [
            self._chosen(self.shards[shards_B[start]], sorted_B[start:stop], ascending_B[start:stop])
            for start, stop in pairwise(bounds)
            if start < stop
        ]

    def _chosen(self, shard: CurationShardRecord, rows_B: Ids, places_B: Ids) -> Chosen:
        return Chosen(shard, self.cache.columns(self.record, shard), rows_B - shard.first_row, places_B)

    def _images(self, rows_B: Ids) -> dict[str, pa.Array]:
        parts = self._by_shard(rows_B)
        sizes_B = np.empty(len(rows_B), np.int64)
        for part in parts:
            sizes_B[part.places_B] = part.columns.image_sizes_N[part.rows_B]
        found = images.Images(sizes_B)
        self.platform.objects.read_all_into([self._reads(part, found) for part in parts])
        if self.parameters.size is not None:
            found = images.resized(found, side=self.parameters.size, limits=self.platform.limits)
        return {"image": found.column(), "format": pa.array(found.extensions(), pa.string())}

    def _reads(self, part: Chosen, found: images.Images) -> RangeReads:
        offsets = part.columns.image_offsets_N[part.rows_B].tolist()
        targets = map(found.target, part.places_B.tolist())
        # Samples that came as embeddings have no picture.
        ranges = [(offset, target) for offset, target in zip(offsets, targets, strict=True) if target]
        path = paths.shard(self.record.dataset_id, part.shard.shard_id)
        return RangeReads(path, part.columns.tar_bytes, ranges)
