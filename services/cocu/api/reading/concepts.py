"""Concepts of a curation: frequencies before and after, co-occurrence, the samples where each scores best.

Frequencies are read from what `publish` has stored, the rest from the concept indexes of the shards: mapped
files of which a request touches the few parts it asks about, so that nothing is computed ahead of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cocu.api.reading.recent import Recent
from cocu.api.reading.samples import Samples
from cocu.client import models
from cocu.curation.archives import Ids
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, concept_indexes, paths
from cocu.storage.catalog import curations
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.records import Page

INDEXES = 128


@dataclass(frozen=True)
class _Frequencies:
    """Captions, archives and archives where it is new, by concept."""

    captions_V: Ids
    archives_V: Ids
    added_V: Ids


class Concepts:
    """Concepts of every curation of a platform."""

    def __init__(self, platform: Platform, samples: Samples) -> None:
        self._platform = platform
        self._samples = samples
        self._indexes: Recent[tuple[str, str, str], ConceptIndex] = Recent(INDEXES)

    def archived_shards(self, record: CurationRecord) -> list[CurationShardRecord]:
        """The shards of a curation that have archives, in order."""
        shards = curations.shards(self._platform.catalog, curation_id=record.id)
        return [shard for shard in shards if shard.content_hash is not None]

    def names(self, record: CurationRecord) -> tuple[str, ...]:
        """The concepts of a curation's vocabulary, by id."""
        return self._platform.vocabularies.of_hash(record.vocabulary_hash).names

    def index(self, record: CurationRecord, shard: CurationShardRecord) -> ConceptIndex:
        """The concept index of a shard that has archives. Raises NotFoundError, IntegrityError."""
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

    def find(self, record: CurationRecord, concept: str, *, field: str) -> int:
        """The id of a concept by its name or another form; raises InvalidInputError about this field."""
        found = self._platform.vocabularies.of_hash(record.vocabulary_hash).find(concept)
        if found is None:
            raise InvalidInputError(
                "The vocabulary of this curation has no such concept.",
                {field: "list the concepts with GET /v1/vocabularies/{id}/concepts"},
            )
        return found

    def list_page(
        self, record: CurationRecord, *, order: models.ConceptOrder, limit: int, after: str | None
    ) -> Page[models.ConceptFrequency]:
        """The concepts that captions or archives name, in this order, ties by name."""
        counts, names = self._frequencies(record), self.names(record)
        present_K = np.flatnonzero(counts.captions_V + counts.archives_V)
        if order != "concept":
            by_V = {
                "archives": counts.archives_V,
                "captions": counts.captions_V,
                "added": counts.added_V,
            }[order]
            present_K = present_K[np.argsort(-by_V[present_K], kind="stable")]
        begin = 0 if after is None else int(after)
        items = [_frequency(names, counts, concept) for concept in present_K[begin : begin + limit].tolist()]
        end = begin + len(items)
        return Page(items=tuple(items), next=str(end) if end < len(present_K) else None)

    def get(self, record: CurationRecord, concept: str, *, limit: int) -> models.ConceptDetail:
        """One concept, by name or another form, with its best company and samples, `limit` of each.

        Raises NotFoundError for a concept that the vocabulary does not have.
        """
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        found = vocabulary.find(concept)
        if found is None:
            raise NotFoundError("the vocabulary of this curation has no such concept")
        counts = self._frequencies(record)
        shards = self.archived_shards(record)
        frequency = _frequency(vocabulary.names, counts, found)
        return models.ConceptDetail(
            **frequency.model_dump(),
            co_occurring=self._co_occurring(record, shards, found, counts, limit),
            samples=self._best_samples(record, shards, found, limit),
        )

    def _frequencies(self, record: CurationRecord) -> _Frequencies:
        found = arrays.read_arrays(self._platform.objects, paths.concepts(record.id))
        if "added_V" in found:
            return _Frequencies(**found)
        indexes = [self.index(record, shard) for shard in self.archived_shards(record)]
        return _Frequencies(
            captions_V=np.sum([each.caption_counts for each in indexes], axis=0),
            archives_V=np.sum([each.archive_counts for each in indexes], axis=0),
            added_V=np.sum([each.added_counts for each in indexes], axis=0),
        )

    def _co_occurring(
        self,
        record: CurationRecord,
        shards: Sequence[CurationShardRecord],
        concept: int,
        counts: _Frequencies,
        limit: int,
    ) -> list[models.CoOccurrence]:
        names = self.names(record)
        together_V = np.zeros(len(names), np.int64)
        for shard in shards:
            index = self.index(record, shard)
            together_V += index.counts(index.archived(concept))
        together_V[concept] = 0
        most_K = np.argsort(-together_V, kind="stable")[:limit]
        images = sum(shard.samples for shard in shards)
        return [
            models.CoOccurrence(
                concept=names[other],
                archives=int(together_V[other]),
                lift=float(
                    together_V[other] * images / (counts.archives_V[concept] * counts.archives_V[other])
                ),
            )
            for other in most_K.tolist()
            if together_V[other]
        ]

    def _best_samples(
        self, record: CurationRecord, shards: Sequence[CurationShardRecord], concept: int, limit: int
    ) -> list[models.ConceptSample]:
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
    ) -> models.ConceptSample:
        index = self.index(record, shard)
        key, caption = self._samples.key_and_caption(record.dataset_id, shard.shard_id, row)
        return models.ConceptSample(
            key=key,
            caption=caption,
            score=float(index.scores_C[entry]),
            added=bool(index.added_C[entry]),
            **self._samples.pictures(record.dataset_id, shard.shard_id, row),
        )


def _frequency(names: Sequence[str], counts: _Frequencies, concept: int) -> models.ConceptFrequency:
    return models.ConceptFrequency(
        concept=names[concept],
        captions=int(counts.captions_V[concept]),
        archives=int(counts.archives_V[concept]),
        added=int(counts.added_V[concept]),
    )
