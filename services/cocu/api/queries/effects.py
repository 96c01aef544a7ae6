"""Effects: what feedback about a concept would change in the archives and in the draws of a curation.

Counts of archives are exact and come from the concept indexes, and so do the scores by which concepts are
drawn; the clusters are one column of the archives of a shard. Of very many archives, evenly many from all
parts of the dataset are measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cocu import schemas
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lru_cache import LruCache
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Archives, Ids, Ints
from cocu.curation.probabilities import draw_probabilities
from cocu.curation.ragged import take
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import paths, tables

MEASURED = 1000
"""The most archives whose draws are computed."""
CLUSTERS = 1024
CLUSTERS_BYTES = 32 << 20
"""The memory of a process for clusters of shards: those of 300,000 archives of 25 concepts."""
ANSWERS = 512


@dataclass(frozen=True, kw_only=True)
class EffectQuery:
    """Feedback, and the draws that it is measured by; concepts by name or another form."""

    action: schemas.FeedbackAction
    concept: str
    into: str | None = None
    draws: int = 3
    sampler: schemas.DrawSampler = "cluster"
    temperature: float = 1.0


class Effects:
    """What feedback would change in every curation of a platform."""

    def __init__(self, platform: Platform, concepts: Concepts) -> None:
        self._platform = platform
        self._concepts = concepts
        self._clusters: LruCache[tuple[str, str, str], Ints] = LruCache(
            CLUSTERS, size_of=lambda clusters_C: clusters_C.nbytes, max_size=CLUSTERS_BYTES
        )
        self._answers: LruCache[tuple[str, str | None, EffectQuery, int, int | None], schemas.Effect] = (
            LruCache(ANSWERS)
        )

    def get(self, record: CurationRecord, query: EffectQuery) -> schemas.Effect:
        """Return the effect of feedback on a completed curation.

        The time grows with the archives that hold the concept (a slice of the index of each shard), and with
        the shards, of which one column is read; draws are computed for at most MEASURED archives. Raises
        InvalidInputError for a concept that the vocabulary does not have, and for a merge without another
        concept to become.
        """
        if (query.action == "merge") != (query.into is not None):
            problem = (
                "name the concept that it becomes" if query.into is None else "goes with action=merge only"
            )
            raise InvalidInputError("This is no feedback.", {"query.into": problem})
        concept = self._concepts.find(record, query.concept, field="query.concept")
        into = None if query.into is None else self._concepts.find(record, query.into, field="query.into")
        if concept == into:
            raise InvalidInputError(
                "A concept cannot become itself.", {"query.into": "name another concept than the merged one"}
            )
        return self._answers.get(
            (record.id, record.content_hash, query, concept, into),
            lambda: self._measure(record, query, concept, into),
        )

    def _measure(
        self, record: CurationRecord, query: EffectQuery, concept: int, into: int | None
    ) -> schemas.Effect:
        names = self._concepts.names(record)
        captions_V, archives_V, added_V = self._concepts.frequencies(record)
        changes = query.action != "allow"
        places: list[tuple[CurationShardRecord, Ids]] = []
        emptied = both = draws = 0
        for shard in self._concepts.archived_shards(record):
            index = self._concepts.index(record, shard)
            sizes_B = np.diff(index.offsets_B1)
            draws += int(np.minimum(sizes_B, query.draws).sum())
            rows_R = index.archived(concept) if changes else np.zeros(0, np.int64)
            places.append((shard, rows_R))
            emptied += int((sizes_B[rows_R] == 1).sum())
            if into is not None:
                both += len(np.intersect1d(rows_R, index.archived(into), assume_unique=True))
        archives = int(archives_V[concept]) if changes else 0
        return schemas.Effect(
            curation=record.id,
            action=query.action,
            concept=names[concept],
            into=None if into is None else names[into],
            captions=int(captions_V[concept]) if changes else 0,
            archives=archives,
            added=int(added_V[concept]) if changes else 0,
            shrunk=archives if query.action == "block" else both,
            emptied=emptied if query.action == "block" else 0,
            draws=self._draws(record, query, concept, places, draws),
        )

    def _draws(
        self,
        record: CurationRecord,
        query: EffectQuery,
        concept: int,
        places: list[tuple[CurationShardRecord, Ids]],
        draws: int,
    ) -> schemas.DrawEffect:
        archives = sum(len(rows_R) for _, rows_R in places)
        measured = min(archives, MEASURED)
        expected = 0.0
        for shard, rows_R in _spread(places, measured):
            stored = self._stored(record, shard, rows_R)
            chances = draw_probabilities(
                stored, count=query.draws, temperature=query.temperature, sampler=query.sampler
            )
            expected += float(chances.inclusion_C[stored.concepts_C == concept].sum())
        if measured:
            expected *= archives / measured
        return schemas.DrawEffect(
            sampler=query.sampler,
            temperature=query.temperature,
            concepts=query.draws,
            measured=measured,
            expected=expected,
            draws=draws,
            share=expected / draws if draws else None,
        )

    def _stored(self, record: CurationRecord, shard: CurationShardRecord, rows_R: Ids) -> Archives:
        """The archives of these rows as far as the probabilities of draws need them, without origins."""
        index = self._concepts.index(record, shard)
        content_hash = shard.content_hash or ""
        clusters_C = self._clusters.get(
            (record.id, shard.shard_id, content_hash),
            lambda: tables.read_clusters(
                self._platform.objects,
                paths.archives(record.id, shard.shard_id),
                content_hash=content_hash,
            ),
        )
        offsets_R1, entries_K = take(index.offsets_B1, rows_R)
        scores_K = index.scores_C[entries_K]
        return Archives(
            offsets_B1=offsets_R1,
            concepts_C=index.concepts_C[entries_K],
            scores_C=scores_K,
            global_C=scores_K,
            local_C=scores_K,
            clusters_C=clusters_C[entries_K],
            origin_offsets_C1=np.zeros(len(entries_K) + 1, np.int64),
            origins_O=np.zeros(0, np.int32),
        )


def _spread(
    places: list[tuple[CurationShardRecord, Ids]], count: int
) -> list[tuple[CurationShardRecord, Ids]]:
    """Choose `count` of the rows at equal distances in the order of the dataset; always the same ones."""
    total = sum(len(rows_R) for _, rows_R in places)
    chosen_K = np.arange(count) * total // max(count, 1)
    chosen: list[tuple[CurationShardRecord, Ids]] = []
    begin = 0
    for shard, rows_R in places:
        end = begin + len(rows_R)
        inside_K = chosen_K[(chosen_K >= begin) & (chosen_K < end)] - begin
        if len(inside_K):
            chosen.append((shard, rows_R[inside_K]))
        begin = end
    return chosen
