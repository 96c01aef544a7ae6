"""Concepts of a curation: frequencies before and after, co-occurrence, the samples where each scores best.

Frequencies come from what the stage `publish` stored, the rest from the concept indexes of the shards. These
are memory-mapped files, and a request reads only the few parts that it needs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu import schemas
from cocu.api.binary_answers import arrow_stream
from cocu.api.queries.changes import changed_lists
from cocu.api.queries.histograms import histogram_of
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.samples import Samples
from cocu.catalog import curations
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.records import Page
from cocu.curation.archive_columns import ArchiveColumns
from cocu.curation.archives import Floats, Ids
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import archive_columns, arrays, concept_indexes, paths
from cocu.storage.embedding_files import affordable

INDEXES = 128
SNAPSHOTS = 32
COLUMNS = 16_384
COLUMNS_BYTES = 64 << 20
"""The memory of a process for columns of archives: those of four million archives. Others are read again."""


@dataclass(frozen=True)
class _Frequencies:
    """By concept: how many captions name it, how many archives have it, and to how many it was added."""

    captions_V: Ids
    archives_V: Ids
    added_V: Ids


class Concepts:
    """Concepts of every curation of a platform."""

    def __init__(self, platform: Platform, samples: Samples) -> None:
        self._platform = platform
        self._samples = samples
        self._indexes: LruCache[tuple[str, str, str], ConceptIndex] = LruCache(min(INDEXES, affordable()))
        self._columns: LruCache[tuple[str, str, str], ArchiveColumns] = LruCache(
            COLUMNS, size_of=lambda columns: columns.nbytes, max_size=COLUMNS_BYTES
        )
        self._snapshots: LruCache[tuple[str, str | None], tuple[CurationShardRecord, ...]] = LruCache(
            SNAPSHOTS
        )

    def archived_shards(self, record: CurationRecord) -> Sequence[CurationShardRecord]:
        """Return the shards of a completed curation that have archives, in order."""
        return self._snapshots.get((record.id, record.content_hash), lambda: self._archived_shards(record))

    def _archived_shards(self, record: CurationRecord) -> tuple[CurationShardRecord, ...]:
        shards = curations.shards(self._platform.catalog, curation_id=record.id)
        return tuple(shard for shard in shards if shard.content_hash is not None)

    def names(self, record: CurationRecord) -> tuple[str, ...]:
        """Return the concepts of a curation's vocabulary, by id."""
        return self._platform.vocabularies.of_hash(record.vocabulary_hash).names

    def index(self, record: CurationRecord, shard: CurationShardRecord) -> ConceptIndex:
        """Return the concept index of a shard that has archives. Raises NotFoundError, IntegrityError."""
        content_hash = shard.content_hash or ""
        return self._indexes.get(
            (record.id, shard.shard_id, content_hash),
            lambda: concept_indexes.read(
                self._platform.objects,
                curation_id=record.id,
                shard_id=shard.shard_id,
                content_hash=content_hash,
                names=self.names(record),
            ),
        )

    def columns(self, record: CurationRecord, shard: CurationShardRecord) -> ArchiveColumns:
        """Return the columns of a shard that has archives. Raises NotFoundError, IntegrityError."""
        content_hash = shard.content_hash or ""
        return self._columns.get(
            (record.id, shard.shard_id, content_hash),
            lambda: archive_columns.read(
                self._platform.objects,
                curation_id=record.id,
                shard_id=shard.shard_id,
                content_hash=content_hash,
                index=lambda: self.index(record, shard),
            ),
        )

    def changed(self, record: CurationRecord, shard: CurationShardRecord) -> NDArray[np.bool_]:
        """Return for each sample of a shard whether its neighbours differ (see `changed_lists`)."""
        return changed_lists(self._platform, record, shard)

    def find(self, record: CurationRecord, concept: str, *, field: str) -> int:
        """Return the id of a concept by its name or another form. Raises InvalidInputError for `field`."""
        concept_id = self._platform.vocabularies.of_hash(record.vocabulary_hash).find(concept)
        if concept_id is None:
            raise InvalidInputError(
                "The vocabulary of this curation has no such concept.",
                {field: "list the concepts with GET /v1/vocabularies/{id}/concepts"},
            )
        return concept_id

    def list_page(
        self, record: CurationRecord, *, order: schemas.ConceptOrder, limit: int, after: str | None
    ) -> Page[schemas.ConceptFrequency]:
        """Return the concepts that captions or archives name, in this order, ties by name."""
        counts, names = self._frequencies(record), self.names(record)
        present_K = _present(counts, order)
        begin = 0 if after is None else int(after)
        items = [_frequency(names, counts, concept) for concept in present_K[begin : begin + limit].tolist()]
        end = begin + len(items)
        return Page(items=tuple(items), next=str(end) if end < len(present_K) else None)

    def table_stream(self, record: CurationRecord, *, order: schemas.ConceptOrder) -> bytes:
        """Return all of these concepts as an Arrow stream of one record batch.

        Columns: concept, forms (list of strings); captions, archives, added (int64); captions_rank and
        archives_rank (int64, null for 0), as those of `get`.
        """
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        counts = self._frequencies(record)
        present_K = _present(counts, order)
        concepts = [vocabulary.concepts[concept] for concept in present_K.tolist()]
        columns = {
            "concept": pa.array([concept.name for concept in concepts], pa.string()),
            "forms": pa.array([concept.forms for concept in concepts], pa.list_(pa.string())),
            "captions": pa.array(counts.captions_V[present_K], pa.int64()),
            "archives": pa.array(counts.archives_V[present_K], pa.int64()),
            "added": pa.array(counts.added_V[present_K], pa.int64()),
            "captions_rank": _ranks(counts.captions_V, present_K),
            "archives_rank": _ranks(counts.archives_V, present_K),
        }
        return arrow_stream(pa.record_batch(columns))

    def get(self, record: CurationRecord, concept: str, *, limit: int) -> schemas.ConceptDetail:
        """Return one concept, by name or another form, with its top co-occurring concepts and samples.

        limit: the most of each. `similar` is left out: see `similar_concepts`. The time grows with the
        entries of the archives that hold the concept. Raises NotFoundError for a concept that the vocabulary
        does not have.
        """
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        concept_id = vocabulary.find(concept)
        if concept_id is None:
            raise NotFoundError("the vocabulary of this curation has no such concept")
        counts = self._frequencies(record)
        shards = self.archived_shards(record)
        frequency = _frequency(vocabulary.names, counts, concept_id)
        return schemas.ConceptDetail(
            **frequency.model_dump(),
            forms=list(vocabulary.concepts[concept_id].forms),
            captions_rank=_rank(counts.captions_V, concept_id),
            archives_rank=_rank(counts.archives_V, concept_id),
            histogram=histogram_of(self.added_scores(record, concept_id)),
            similar=None,
            co_occurring=self._co_occurring(record, shards, concept_id, counts, limit),
            samples=self._best_samples(record, shards, concept_id, limit),
        )

    def added_scores(self, record: CurationRecord, concept: int) -> Floats:
        """Return the scores of a concept in the archives where it was added, float32 [R], by shard."""
        scores = [np.zeros(0, np.float32)]
        for shard in self.archived_shards(record):
            index = self.index(record, shard)
            entries_K = index.entries(concept)
            scores.append(index.scores_C[entries_K[index.added_C[entries_K] == 1]])
        return np.concatenate(scores)

    def frequencies(self, record: CurationRecord) -> tuple[Ids, Ids, Ids]:
        """Per concept: captions that name it, archives that hold it, and archives where it is new."""
        counts = self._frequencies(record)
        return counts.captions_V, counts.archives_V, counts.added_V

    def _frequencies(self, record: CurationRecord) -> _Frequencies:
        counts = arrays.read_arrays(self._platform.objects, paths.concepts(record.id))
        # Curations of earlier versions were stored without `added_V`: count again from the indexes.
        if "added_V" in counts:
            return _Frequencies(**counts)
        captions_V, archives_V, added_V = np.zeros((3, len(self.names(record))), np.int64)
        # One after another, so that only a few indexes are mapped at a time.
        for shard in self.archived_shards(record):
            index = self.index(record, shard)
            captions_V += index.caption_counts
            archives_V += index.archive_counts
            added_V += index.added_counts
        return _Frequencies(captions_V, archives_V, added_V)

    def _co_occurring(
        self,
        record: CurationRecord,
        shards: Sequence[CurationShardRecord],
        concept: int,
        counts: _Frequencies,
        limit: int,
    ) -> list[schemas.CoOccurrence]:
        names = self.names(record)
        together_V = np.zeros(len(names), np.int64)
        for shard in shards:
            index = self.index(record, shard)
            together_V += index.counts(index.archived(concept))
        together_V[concept] = 0
        top_K = np.argsort(-together_V, kind="stable")[:limit]
        images = sum(shard.samples for shard in shards)
        return [
            schemas.CoOccurrence(
                concept=names[other],
                archives=int(together_V[other]),
                lift=float(
                    together_V[other] * images / (counts.archives_V[concept] * counts.archives_V[other])
                ),
            )
            for other in top_K.tolist()
            if together_V[other]
        ]

    def _best_samples(
        self, record: CurationRecord, shards: Sequence[CurationShardRecord], concept: int, limit: int
    ) -> list[schemas.ConceptSample]:
        best: list[tuple[float, int, int, int]] = []
        for ordinal, shard in enumerate(shards):
            index = self.index(record, shard)
            entries_K = index.entries(concept)[:limit]
            rows_K = index.rows_of(entries_K)
            best += [
                (-float(index.scores_C[entry]), ordinal, row, entry)
                for entry, row in zip(entries_K.tolist(), rows_K.tolist(), strict=True)
            ]
        return [
            self._sample(record, shards[ordinal], row, entry)
            for _, ordinal, row, entry in heapq.nsmallest(limit, best)
        ]

    def _sample(
        self, record: CurationRecord, shard: CurationShardRecord, row: int, entry: int
    ) -> schemas.ConceptSample:
        index = self.index(record, shard)
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        return schemas.ConceptSample(
            key=key,
            caption=caption,
            score=float(index.scores_C[entry]),
            added=bool(index.added_C[entry]),
            **self._samples.image_paths(record.dataset_id, shard.shard_id, row),
        )


def _frequency(names: Sequence[str], counts: _Frequencies, concept: int) -> schemas.ConceptFrequency:
    return schemas.ConceptFrequency(
        concept=names[concept],
        captions=int(counts.captions_V[concept]),
        archives=int(counts.archives_V[concept]),
        added=int(counts.added_V[concept]),
    )


def _present(counts: _Frequencies, order: schemas.ConceptOrder) -> Ids:
    """Return the concepts that captions or archives name, in this order, ties by name."""
    present_K = np.flatnonzero(counts.captions_V + counts.archives_V)
    if order == "concept":
        return present_K
    by_V = {"archives": counts.archives_V, "captions": counts.captions_V, "added": counts.added_V}[order]
    return present_K[np.argsort(-by_V[present_K], kind="stable")]


def _ranks(counts_V: Ids, concepts_K: Ids) -> pa.Array:
    """Return the `_rank` of many concepts at once."""
    chosen_K = counts_V[concepts_K]
    ranks_K = len(counts_V) - np.searchsorted(np.sort(counts_V), chosen_K, side="right") + 1
    return pa.array(ranks_K, pa.int64(), mask=chosen_K == 0)


def _rank(counts_V: Ids, concept: int) -> int | None:
    """The place of a concept by its count: 1 for the largest, the same for equal ones, None for 0."""
    return int((counts_V > counts_V[concept]).sum()) + 1 if counts_V[concept] else None
