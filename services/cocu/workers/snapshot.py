"""What the stages of a curation see: its shards, their embeddings and the global numbering of samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cocu.curation.archives import Floats, Ids, Mentions
from cocu.curation.parameters import CurationParameters
from cocu.curation.statistics import Statistics
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.concepts import embed_concepts
from cocu.encoders.encoder import Encoder, Float32s
from cocu.errors import IntegrityError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.catalog import curations, progress
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.states import Stage


@dataclass(frozen=True)
class Snapshot:
    """A curation and everything it was begun with; refuses an encoder or vocabulary that has changed."""

    platform: Platform
    curation: CurationRecord
    shards: tuple[CurationShardRecord, ...]

    @classmethod
    def of(cls, platform: Platform, curation_id: str) -> Snapshot:
        """The snapshot of a curation. Raises NotFoundError when it was deleted."""
        curation = curations.of_chunk(platform.catalog, curation_id=curation_id)
        return cls(platform, curation, tuple(curations.shards(platform.catalog, curation_id=curation_id)))

    def shard(self, shard_id: str) -> CurationShardRecord:
        """A shard of it. Raises NotFoundError."""
        for shard in self.shards:
            if shard.shard_id == shard_id:
                return shard
        raise NotFoundError(f"shard {shard_id!r} is not in curation {self.curation.id!r}")

    def rows(self, shard: CurationShardRecord) -> Ids:
        """The global rows of a shard's samples."""
        return np.arange(shard.first_row, shard.first_row + shard.samples, dtype=np.int64)

    @property
    def samples(self) -> int:
        """N, the samples of the snapshot."""
        return self.curation.samples

    @cached_property
    def searched(self) -> frozenset[str]:
        """The shards whose neighbours and mentions were found in this run; it goes on without the others."""
        found = progress.done(self.platform.catalog, curation_id=self.curation.id, stage=Stage.NEIGHBOURS)
        return frozenset(found)

    @cached_property
    def parameters(self) -> CurationParameters:
        """Its parameters. Raises IntegrityError when this version reads them as others."""
        parameters = CurationParameters(**self.curation.parameters)
        if parameters.hash != self.curation.parameters_hash:
            raise IntegrityError(
                "this version understands the curation's parameters otherwise; start a new one"
            )
        return parameters

    @cached_property
    def encoder(self) -> Encoder:
        """Its encoder. Raises IntegrityError when that is gone or has changed."""
        return self.platform.encoders.require(name=self.curation.encoder, hash=self.curation.encoder_hash)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its vocabulary. Raises IntegrityError when that has changed."""
        return self.platform.vocabularies.of_hash(self.curation.vocabulary_hash)

    @cached_property
    def concept_embeddings(self) -> Float32s:
        """The text embeddings of its concepts, float32 [V, D]; made once per encoder and vocabulary."""
        path = paths.concept_embeddings(self.curation.encoder_hash, self.curation.vocabulary_hash)
        if not self.platform.objects.exists(path):
            made_VD = embed_concepts(self.encoder, self.vocabulary.prompts())
            arrays.write_arrays(self.platform.objects, path, {"concepts_VD": made_VD})
        return np.asarray(arrays.read_arrays(self.platform.objects, path)["concepts_VD"], dtype=np.float32)

    @cached_property
    def embeddings(self) -> list[NDArray[np.float16]]:
        """The image embeddings of every shard, memory-mapped; free zeros for a shard that has none."""
        found: dict[str, NDArray[np.float16]] = {
            shard.shard_id: arrays.read_embeddings(self.platform.objects, self._embeddings_path(shard))
            for shard in self.shards
            if shard.usable
        }
        dimensions = next(iter(found.values())).shape[1]
        nothing = np.zeros((), np.float16)
        return [
            found.get(shard.shard_id, np.broadcast_to(nothing, (shard.samples, dimensions)))
            for shard in self.shards
        ]

    def fingerprints(self) -> NDArray[np.uint64]:
        """The fingerprints of all N samples' pictures; 0 where there is no embedding either."""
        fingerprints_N = np.zeros(self.samples, np.uint64)
        for shard in self.shards:
            if shard.usable:
                path = paths.fingerprints(
                    self.curation.dataset_id, self.curation.encoder_hash, shard.shard_id
                )
                found = arrays.read_arrays(self.platform.objects, path)
                fingerprints_N[self.rows(shard)] = found["fingerprints_N"]
        return fingerprints_N

    def embeddings_of(self, rows_Q: Ids) -> Float32s:
        """The image embeddings of these global rows, float32 [Q, D]."""
        starts = np.array([shard.first_row for shard in self.shards])
        gathered_QD = np.empty((len(rows_Q), self.embeddings[0].shape[1]), np.float32)
        shards_Q = np.searchsorted(starts, rows_Q, side="right") - 1
        for ordinal in np.unique(shards_Q).tolist():
            mine_Q = shards_Q == ordinal
            gathered_QD[mine_Q] = self.embeddings[ordinal][rows_Q[mine_Q] - starts[ordinal]]
        return gathered_QD

    def without_embedding(self, rows_Q: Ids) -> NDArray[np.bool_]:
        """Which of these rows have no embedding: the encoder failed on them."""
        return np.asarray(~self.embeddings_of(rows_Q).any(axis=1), dtype=bool)

    @cached_property
    def searches_exactly(self) -> bool:
        """Whether neighbours are searched among all rows rather than in cells."""
        return self.parameters.searches_exactly(self.samples)

    @cached_property
    def mentions(self) -> Mentions:
        """The mentions of all N samples, memory-mapped; made by `group`."""
        return arrays.read_mentions(self.platform.objects, paths.all_mentions(self.curation.id))

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics of the snapshot; made by `group`."""
        found = arrays.read_arrays(self.platform.objects, paths.statistics(self.curation.id))
        return Statistics.from_arrays(found)

    @cached_property
    def duplicate_groups(self) -> Ids:
        """The duplicate group of every sample, memory-mapped; made by `group`."""
        found = arrays.read_arrays(self.platform.objects, paths.duplicates(self.curation.id))
        return found["groups_N"].astype(np.int64, copy=False)

    def _embeddings_path(self, shard: CurationShardRecord) -> str:
        return paths.embeddings(self.curation.dataset_id, self.curation.encoder_hash, shard.shard_id)


def own_similarities(
    offsets_N1: Ids,
    concepts_M: NDArray[np.int32],
    images_ND: Floats,
    concepts_VD: Floats,
    *,
    tile: int = 4096,
) -> NDArray[np.float32]:
    """The cosine of every mention's concept with the image of its own sample, float32 [M]."""
    owners_M = np.repeat(np.arange(len(offsets_N1) - 1), np.diff(offsets_N1))
    similarities_M = np.empty(len(concepts_M), np.float32)
    for start in range(0, len(concepts_M), tile):
        part = slice(start, start + tile)
        images_TD = np.asarray(images_ND[owners_M[part]], dtype=np.float32)
        similarities_M[part] = np.einsum("td,td->t", images_TD, concepts_VD[concepts_M[part]])
    return similarities_M
