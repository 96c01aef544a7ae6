"""The context of a curation for its stages: shards, embeddings, and the global rows of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.states import Stage
from cocu.curation.archives import Floats, Ids, Mentions
from cocu.curation.parameters import CurationParameters
from cocu.curation.statistics import Statistics
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.encoder import Encoder, Float32s
from cocu.errors import IntegrityError, NotFoundError
from cocu.pipeline import concept_vectors, progress
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.embedding_files import EmbeddingFile, EmbeddingFiles, EmbeddingPart


@dataclass(frozen=True)
class CurationContext:
    """A curation with its inputs; an encoder or vocabulary that has changed meanwhile is an error."""

    platform: Platform
    curation: CurationRecord
    shards: tuple[CurationShardRecord, ...]

    @classmethod
    def of(cls, platform: Platform, curation_id: str) -> CurationContext:
        """Read the context of a curation. Raises NotFoundError if the curation was deleted."""
        curation = curations.of_task(platform.catalog, curation_id=curation_id)
        return cls(platform, curation, tuple(curations.shards(platform.catalog, curation_id=curation_id)))

    def shard(self, shard_id: str) -> CurationShardRecord:
        """Return a shard of the snapshot by its id. Raises NotFoundError."""
        for shard in self.shards:
            if shard.shard_id == shard_id:
                return shard
        raise NotFoundError(f"shard {shard_id!r} is not in curation {self.curation.id!r}")

    def rows(self, shard: CurationShardRecord) -> Ids:
        """Return the global rows of a shard's samples, int64 [n]."""
        return np.arange(shard.first_row, shard.first_row + shard.samples, dtype=np.int64)

    @property
    def samples(self) -> int:
        """N, the number of samples of the snapshot."""
        return self.curation.samples

    @cached_property
    def searched(self) -> frozenset[str]:
        """Ids of the shards whose neighbours and mentions are done; the run goes on without the others."""
        shard_ids = progress.done_targets(
            self.platform.catalog, curation_id=self.curation.id, stage=Stage.NEIGHBOURS
        )
        return frozenset(shard_ids)

    @cached_property
    def parameters(self) -> CurationParameters:
        """The parameters. Raises IntegrityError if this version reads the stored ones differently."""
        parameters = CurationParameters.from_stored(self.curation.parameters)
        if parameters.hash != self.curation.parameters_hash:
            raise IntegrityError(
                "this version reads the stored parameters of the curation differently; start a new one"
            )
        return parameters

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder. Raises IntegrityError if it is missing or has changed."""
        return self.platform.encoders.require(name=self.curation.encoder, hash=self.curation.encoder_hash)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary. Raises IntegrityError if it has changed."""
        return self.platform.vocabularies.of_hash(self.curation.vocabulary_hash)

    @cached_property
    def concept_embeddings(self) -> Float32s:
        """The text embeddings of its concepts, float32 [V, D]; computed once per encoder and vocabulary."""
        hashes = {
            "encoder_hash": self.curation.encoder_hash,
            "vocabulary_hash": self.curation.vocabulary_hash,
        }
        stored_VD = concept_vectors.embeddings(self.platform, **hashes)
        if stored_VD is not None:
            return stored_VD
        return concept_vectors.compute_embeddings(self.platform, self.encoder, self.vocabulary)

    @cached_property
    def embeddings(self) -> list[EmbeddingFile | NDArray[np.float16]]:
        """The image embeddings of every shard, memory-mapped; for a shard without any, zeros (no memory)."""
        parts = [
            EmbeddingPart(
                self._embeddings_path(shard) if shard.usable else None, shard.samples, shard.revision
            )
            for shard in self.shards
        ]
        return EmbeddingFiles(self.platform.objects).of(parts)

    @cached_property
    def _first_rows(self) -> Ids:
        return np.array([shard.first_row for shard in self.shards], dtype=np.int64)

    def phashes(self) -> NDArray[np.uint64]:
        """Return the perceptual hashes of all N images, uint64 [N]; 0 for a sample without an embedding."""
        phashes_N = np.zeros(self.samples, np.uint64)
        for shard in self.shards:
            if shard.usable:
                path = paths.phashes(self.curation.dataset_id, self.curation.encoder_hash, shard.shard_id)
                stored = arrays.read_arrays(self.platform.objects, path)
                phashes_N[self.rows(shard)] = stored["fingerprints_N"]
        return phashes_N

    def embeddings_of(self, rows_Q: Ids) -> Float32s:
        """Return the image embeddings of these global rows, float32 [Q, D]."""
        starts = self._first_rows
        gathered_QD = np.empty((len(rows_Q), self.embeddings[0].shape[1]), np.float32)
        shards_Q = np.searchsorted(starts, rows_Q, side="right") - 1
        for ordinal in np.unique(shards_Q).tolist():
            in_shard_Q = shards_Q == ordinal
            gathered_QD[in_shard_Q] = self.embeddings[ordinal][rows_Q[in_shard_Q] - starts[ordinal]]
        return gathered_QD

    def without_embedding(self, rows_Q: Ids) -> NDArray[np.bool_]:
        """Return which of these rows have no embedding, because the encoder failed on them; bool [Q]."""
        return np.asarray(~self.embeddings_of(rows_Q).any(axis=1), dtype=bool)

    @cached_property
    def searches_exactly(self) -> bool:
        """Whether neighbours are searched among all rows instead of in the cells of an inverted file."""
        return self.parameters.searches_exactly(self.samples)

    @cached_property
    def mentions(self) -> Mentions:
        """The mentions of all N samples, memory-mapped; written by `aggregate`."""
        return arrays.read_mentions(self.platform.objects, paths.all_mentions(self.curation.id))

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics of the snapshot; written by `aggregate`."""
        stored = arrays.read_arrays(self.platform.objects, paths.statistics(self.curation.id))
        return Statistics.from_arrays(stored)

    @cached_property
    def duplicate_groups(self) -> Ids:
        """The duplicate group of every sample, int64 [N], memory-mapped; written by `aggregate`."""
        stored = arrays.read_arrays(self.platform.objects, paths.duplicates(self.curation.id))
        return stored["groups_N"].astype(np.int64, copy=False)

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
    """Return the cosine of every mention's concept with the image of its own sample, float32 [M]."""
    owners_M = np.repeat(np.arange(len(offsets_N1) - 1), np.diff(offsets_N1))
    similarities_M = np.empty(len(concepts_M), np.float32)
    for start in range(0, len(concepts_M), tile):
        part = slice(start, start + tile)
        images_TD = np.asarray(images_ND[owners_M[part]], dtype=np.float32)
        similarities_M[part] = np.einsum("td,td->t", images_TD, concepts_VD[concepts_M[part]])
    return similarities_M
