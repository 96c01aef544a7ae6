"""One archive with what explains it: parts of scores, neighbours, and the words of captions.

All of it follows from files that every completed curation has: the row of the archive, the statistics of the
snapshot with the fitted weights, the captions, and the vocabulary. The cost is one row of the archives, the
cached captions of the neighbours' shards, and matching these captions, whatever the size of the dataset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from cocu import schemas
from cocu.api.queries.archives import Archives, StoredArchive
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.samples import Samples
from cocu.catalog.curations import CurationRecord
from cocu.curation.evidence import LocalParts, split_local
from cocu.curation.parameters import CurationParameters
from cocu.curation.ragged import offsets_of
from cocu.curation.statistics import Statistics
from cocu.curation.vocabulary import Vocabulary
from cocu.errors import NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths

CURATIONS = 32
"""Curations whose statistics stay open; they are memory-mapped."""


class Evidence:
    """The evidence behind single archives of every curation of a platform."""

    def __init__(self, platform: Platform, samples: Samples, archives: Archives) -> None:
        self._platform = platform
        self._samples = samples
        self._archives = archives
        self._statistics: LruCache[tuple[str, str | None], Statistics | None] = LruCache(CURATIONS)

    def get(self, record: CurationRecord, key: str) -> schemas.ArchiveDetail:
        """Return the archive of one sample of a completed curation. Raises NotFoundError."""
        stored = self._archives.find(record, key)
        archive = self._archives.describe(record, stored)
        vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
        parts = self._parts(record, vocabulary, stored)
        fields: Mapping[str, Any] = {
            "mentions": _mentions(vocabulary, archive.caption),
            "concepts": _concepts(archive.concepts, parts),
            "neighbours": [
                self._neighbour(record, vocabulary, row, neighbour)
                for row, neighbour in zip(stored.values["neighbours"], archive.neighbours, strict=True)
            ],
        }
        return schemas.ArchiveDetail(**{**vars(archive), **fields})

    def _neighbour(
        self, record: CurationRecord, vocabulary: Vocabulary, row: int, neighbour: schemas.Neighbour
    ) -> schemas.NeighbourDetail:
        location = self._archives.place(record, row)
        _, caption = self._samples.key_and_caption(record.dataset_id, *location)
        mentions = _mentions(vocabulary, caption)
        return schemas.NeighbourDetail(
            key=neighbour.key,
            similarity=neighbour.similarity,
            caption=caption,
            concepts=sorted({mention.concept for mention in mentions}),
            mentions=mentions,
            **self._samples.image_paths(record.dataset_id, *location),
        )

    def _parts(
        self, record: CurationRecord, vocabulary: Vocabulary, stored: StoredArchive
    ) -> LocalParts | None:
        """Return the parts of the local scores; None for scorings that have none."""
        if CurationParameters.from_stored(record.parameters).scoring != "evidence":
            return None
        statistics = self._statistics.get(
            (record.id, record.content_hash), lambda: self._read_statistics(record)
        )
        if statistics is None:
            return None
        concepts = stored.values["concepts"]
        origins = [concept["origins"] for concept in concepts]
        return split_local(
            offsets_B1=np.array([0, len(concepts)], np.int64),
            concepts_C=np.array([vocabulary.find(concept["concept"]) for concept in concepts], np.int32),
            origin_offsets_C1=offsets_of(np.array([len(of_concept) for of_concept in origins], np.int64)),
            origins_O=np.fromiter(chain.from_iterable(origins), np.int32),
            neighbours_BL=np.array([stored.values["neighbours"]], np.int64),
            neighbour_similarities_BL=np.array([stored.values["neighbour_similarities"]], np.float32),
            statistics=statistics,
        )

    def _read_statistics(self, record: CurationRecord) -> Statistics | None:
        try:
            stored = arrays.read_arrays(self._platform.objects, paths.statistics(record.id))
        except NotFoundError:
            # A copy of a curation may lack what only its stages need; archives are shown all the same.
            return None
        return Statistics.from_arrays(stored)


def _mentions(vocabulary: Vocabulary, caption: str) -> list[schemas.Mention]:
    return [
        schemas.Mention(concept=vocabulary.names[match.concept], start=match.start, end=match.end)
        for match in vocabulary.locate(caption)
    ]


def _concepts(
    concepts: Sequence[schemas.ArchiveConcept], parts: LocalParts | None
) -> list[schemas.WeighedConcept]:
    weighed: list[schemas.WeighedConcept] = []
    first_origin = 0
    for position, concept in enumerate(concepts):
        after = first_origin + len(concept.origins)
        shares = (
            [None] * len(concept.origins) if parts is None else parts.shares_O[first_origin:after].tolist()
        )
        fields: Mapping[str, Any] = {
            "prior": None if parts is None else float(parts.prior_C[position]),
            "support": None if parts is None else float(parts.support_C[position]),
            "origins": [
                schemas.WeighedOrigin(
                    **vars(origin), weight=None if share is None or math.isnan(share) else share
                )
                for origin, share in zip(concept.origins, shares, strict=True)
            ],
        }
        weighed.append(schemas.WeighedConcept(**{**vars(concept), **fields}))
        first_origin = after
    return weighed
