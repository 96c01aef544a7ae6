"""Concepts of a vocabulary by their meaning to an encoder: nearest concepts, merge candidates, gaps.

The vector store finds the nearest concepts, and their cosines are computed from the stored embeddings: the
result is the same with and without the store. While the store does not answer or lacks concepts, all
embeddings are compared. What takes longer than a request is computed in the background.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cocu import schemas
from cocu.api.background import Background
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.query_vectors import sample_vector
from cocu.catalog import datasets, samples, vocabularies
from cocu.catalog.curations import CurationRecord
from cocu.catalog.records import Page
from cocu.catalog.vocabularies import VocabularyRecord
from cocu.curation import concept_space
from cocu.curation.archives import Ids
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.concepts import embed_concepts
from cocu.encoders.encoder import Float32s
from cocu.encoders.registry import EncoderDescription
from cocu.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError, UnavailableError
from cocu.pipeline import concept_vectors
from cocu.pipeline.submit import snapshot_hash
from cocu.platform import Platform
from cocu.vectors import ConceptVectors, Frequency, NearConcept

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""How long a request waits for background work: enough for a vocabulary of a few hundred concepts."""
CHECK_SECONDS = 15.0
"""How long one check is valid whether the store has all concepts of a vocabulary."""
MORE = 20
"""Concepts that the store is asked for beyond the limit: it rounds cosines, and its graph may miss some."""
MAX_CURATIONS = 8
"""Curations whose frequencies are stored with the points; those of others are read from files."""
CACHED = 1_000


@dataclass(frozen=True)
class Query:
    """What the nearest concepts are searched for: exactly one of a text, a concept, and a sample."""

    text: str | None = None
    concept: str | None = None
    dataset: str | None = None
    sample: str | None = None

    def check(self) -> None:
        """Raise InvalidInputError unless exactly one is given."""
        if (self.dataset is None) != (self.sample is None):
            missing = "dataset" if self.dataset is None else "sample"
            raise InvalidInputError(
                "A sample is named by its dataset and its key.", {f"query.{missing}": "is required; give it"}
            )
        named = sum(value is not None for value in (self.text, self.concept, self.sample))
        if named != 1:
            raise InvalidInputError(
                f"Give exactly one of text, concept, and dataset with sample; {named} of them were given.",
                {"query.text": "give this, or concept, or dataset and sample"},
            )


@dataclass(frozen=True)
class _Space:
    """A request whose names are resolved; curation: the one whose frequencies are returned."""

    tenant: str
    record: VocabularyRecord
    vocabulary: Vocabulary
    encoder: EncoderDescription
    curation: CurationRecord | None
    concepts_VD: Float32s

    @property
    def key(self) -> tuple[str, str, str]:
        return self.tenant, self.record.id, self.encoder.hash

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {"encoder_hash": self.encoder.hash, "vocabulary_hash": self.record.hash}


class ConceptSpace:
    """Queries by meaning over the concepts of every vocabulary of a platform."""

    def __init__(
        self,
        platform: Platform,
        concepts: Concepts,
        completed: Callable[..., CurationRecord],
        background: Background,
    ) -> None:
        self._platform = platform
        self._concepts = concepts
        self._completed = completed
        self._background = background
        self._complete: LruCache[tuple[object, ...], bool] = LruCache(CACHED)
        self._put: LruCache[tuple[object, ...], bool] = LruCache(CACHED)

    def near(
        self,
        *,
        tenant: str,
        vocabulary: str,
        encoder: str | None,
        curation: str | None,
        query: Query,
        limit: int,
        seconds: float | None = None,
    ) -> list[schemas.NearConcept]:
        """Return the nearest concepts, nearest first, ties by name; a query concept itself is left out.

        seconds: to wait for the embeddings of the concepts. Raises InvalidInputError, NotFoundError,
        ConflictError for a sample without an embedding, UnavailableError while embeddings are computed.
        """
        query.check()
        space = self._space(tenant, vocabulary, encoder, curation, seconds)
        vector_D, itself = self._vector(space, query)
        count = limit if itself is None else limit + 1
        numbers_K, points = self._nearest(space, vector_D, count)
        cosines_K = concept_space.cosines(space.concepts_VD, numbers_K, vector_D)
        order_K = concept_space.rank(cosines_K, numbers_K, limit=count)
        nearest = [
            (int(numbers_K[position]), float(cosines_K[position]))
            for position in order_K.tolist()
            if numbers_K[position] != itself
        ]
        counted = self._counted(space, [number for number, _ in nearest[:limit]], points)
        return [
            schemas.NearConcept(**concept.model_dump(), similarity=similarity)
            for concept, (_, similarity) in zip(counted, nearest, strict=False)
        ]

    def merge_candidates(
        self,
        *,
        tenant: str,
        vocabulary: str,
        encoder: str | None,
        curation: str | None,
        min_similarity: float,
        limit: int,
        after: str | None,
    ) -> Page[schemas.MergeCandidate]:
        """Return pairs of concepts of which one is among the nearest of the other, most similar first.

        Raises as `near`.
        """
        space = self._space(tenant, vocabulary, encoder, curation)
        stored = concept_vectors.pairs(self._platform, **space.hashes)
        if stored is None:
            self._background.require(
                ("pairs", *space.hashes.values()),
                lambda advance: concept_vectors.compute_pairs(
                    self._platform, space.concepts_VD, **space.hashes, advance=advance
                ),
                title=f"the merge candidates of vocabulary {space.record.name!r}",
                total=space.record.concepts,
                seconds=WAIT_SECONDS,
            )
            stored = concept_vectors.pairs(self._platform, **space.hashes)
        if stored is None:
            raise UnavailableError("the merge candidates were deleted meanwhile; try again")
        end = int(np.searchsorted(-stored.similarities_P, -min_similarity, side="right"))
        begin = 0 if after is None else int(after)
        page_P = slice(begin, min(begin + limit, end))
        both = np.stack([stored.first_P[page_P], stored.second_P[page_P]], axis=1).reshape(-1)
        counted = self._counted(space, both.tolist(), {})
        items = tuple(
            schemas.MergeCandidate(first=first, second=second, similarity=similarity)
            for first, second, similarity in zip(
                counted[::2], counted[1::2], stored.similarities_P[page_P].tolist(), strict=True
            )
        )
        return Page(items=items, next=str(page_P.stop) if page_P.stop < end else None)

    def gaps(
        self,
        *,
        tenant: str,
        vocabulary: str,
        encoder: str | None,
        dataset: str,
        max_similarity: float,
        min_captions: int,
        limit: int,
        after: str | None,
    ) -> Page[schemas.Gap]:
        """Return phrases of a dataset's captions that are far from every concept, most captions first.

        Raises as `near`, and ConflictError for a dataset without samples.
        """
        record = datasets.get(self._platform.catalog, tenant=tenant, dataset_id=dataset)
        shards = samples.shards(self._platform.catalog, tenant=tenant, dataset_id=record.id)
        if not shards:
            raise ConflictError(f"dataset {record.id} has no accepted samples, and so no captions")
        space = self._space(tenant, vocabulary, encoder, None)
        snapshot_key = {
            "dataset_id": record.id,
            "snapshot": snapshot_hash([shard.sha256 for shard in shards]),
        }
        stored = concept_vectors.gaps(self._platform, **snapshot_key, **space.hashes)
        if stored is None:
            self._background.require(
                ("gaps", *snapshot_key.values(), *space.hashes.values()),
                lambda advance: concept_vectors.compute_gaps(
                    self._platform,
                    self._platform.encoders.get(space.encoder.hash),
                    space.vocabulary,
                    space.concepts_VD,
                    **snapshot_key,
                    shards=shards,
                    advance=advance,
                ),
                title=f"the gaps of vocabulary {space.record.name!r} in dataset {record.name!r}",
                total=record.samples,
                seconds=WAIT_SECONDS,
            )
            stored = concept_vectors.gaps(self._platform, **snapshot_key, **space.hashes)
        if stored is None:
            raise UnavailableError("the gaps were deleted meanwhile; try again")
        far_P = np.flatnonzero((stored.similarities_P <= max_similarity) & (stored.counts_P >= min_captions))
        begin = 0 if after is None else int(after)
        end = begin + limit
        items = tuple(
            schemas.Gap(
                phrase=stored.phrases[position],
                captions=int(stored.counts_P[position]),
                nearest=space.vocabulary.names[int(stored.nearest_P[position])],
                similarity=float(stored.similarities_P[position]),
            )
            for position in far_P[begin:end].tolist()
        )
        return Page(items=items, next=str(end) if end < len(far_P) else None)

    def _space(
        self,
        tenant: str,
        vocabulary: str,
        encoder: str | None,
        curation: str | None,
        seconds: float | None = None,
    ) -> _Space:
        record, loaded = self._platform.vocabularies.load(tenant=tenant, vocabulary=vocabulary)
        try:
            described = self._platform.encoders.describe(encoder)
        except NotFoundError as error:
            raise InvalidInputError(
                "The encoder is not on this server.", {"query.encoder": str(error)}
            ) from error
        counted = None
        if curation is not None:
            counted = self._completed(tenant=tenant, curation=curation)
            if counted.vocabulary_hash != record.hash:
                raise InvalidInputError(
                    "The curation is not of this vocabulary.",
                    {"query.curation": f"name a curation with vocabulary {record.id}, or leave it out"},
                )
        hashes = {"encoder_hash": described.hash, "vocabulary_hash": record.hash}
        concepts_VD = concept_vectors.embeddings(self._platform, **hashes)
        if concepts_VD is None:
            self._compute_embeddings(record, loaded, described, seconds)
            concepts_VD = concept_vectors.embeddings(self._platform, **hashes)
        if concepts_VD is None:
            raise UnavailableError("the embeddings of the concepts were deleted meanwhile; try again")
        return _Space(tenant, record, loaded, described, counted, concepts_VD)

    def _compute_embeddings(
        self,
        record: VocabularyRecord,
        vocabulary: Vocabulary,
        encoder: EncoderDescription,
        seconds: float | None,
    ) -> None:
        def compute(advance: Callable[[int], None]) -> None:
            tower = self._platform.encoders.get(encoder.hash)
            concept_vectors.compute_embeddings(self._platform, tower, vocabulary, advance=advance)

        self._background.require(
            ("embeddings", encoder.hash, record.hash),
            compute,
            title=f"the embeddings of vocabulary {record.name!r} by encoder {encoder.name!r}",
            total=record.concepts,
            seconds=WAIT_SECONDS if seconds is None else seconds,
        )

    def _vector(self, space: _Space, query: Query) -> tuple[Float32s, int | None]:
        """Return the query vector, float32 [D], and the number of the query concept if there is one."""
        if query.concept is not None:
            number = space.vocabulary.find(query.concept)
            if number is None:
                raise InvalidInputError(
                    "The vocabulary has no such concept.",
                    {"query.concept": "list the concepts with GET /v1/vocabularies/{id}/concepts"},
                )
            return space.concepts_VD[number], number
        if query.text is not None:
            tower = self._platform.encoders.get(space.encoder.hash)
            # With the vocabulary's templates, so that the name of a concept has the embedding of the concept.
            return embed_concepts(tower, [concept_vectors.prompts_of(space.vocabulary, query.text)])[0], None
        assert query.dataset is not None
        assert query.sample is not None
        dataset = datasets.get(self._platform.catalog, tenant=space.tenant, dataset_id=query.dataset)
        return sample_vector(self._platform, dataset, space.encoder, query.sample), None

    def _nearest(self, space: _Space, vector_D: Float32s, limit: int) -> tuple[Ids, dict[int, NearConcept]]:
        """Return numbers of concepts that include the nearest, and their points if the store found them."""
        version = None if space.curation is None else concept_vectors.version_of(space.curation)
        try:
            if self._is_complete(space):
                near = ConceptVectors(self._platform.vectors).near(
                    encoder=space.encoder.hash,
                    tenant=space.tenant,
                    vocabulary=space.record.id,
                    vector_D=vector_D,
                    limit=min(limit + MORE, space.record.concepts),
                    curation=version,
                )
                points = {point.number: point for point in near}
                if space.curation is not None and any(point.frequency is None for point in near):
                    self._put_once(space, space.curation)
                if points:
                    return np.array([*points], np.int64), points
        except (UnavailableError, RefusedError) as error:
            logger.warning("concepts are searched without the vector store: %s", error)
        return concept_space.nearest(space.concepts_VD, vector_D, limit=limit)[0], {}

    def _is_complete(self, space: _Space) -> bool:
        """Whether the store has all concepts of the vocabulary. If not, start to write them."""
        moment = int(time.monotonic() / CHECK_SECONDS)

        def count() -> bool:
            stored = ConceptVectors(self._platform.vectors).count(
                encoder=space.encoder.hash, tenant=space.tenant, vocabulary=space.record.id
            )
            if stored < space.record.concepts:
                self._start_put(space, [] if space.curation is None else [space.curation])
            return stored >= space.record.concepts

        return self._complete.get((*space.key, moment), count)

    def _put_once(self, space: _Space, curation: CurationRecord) -> None:
        """Start to write the concepts again with the frequencies of this curation, once per curation."""

        def start() -> bool:
            self._start_put(space, [curation])
            return True

        self._put.get((*space.key, concept_vectors.version_of(curation)), start)

    def _start_put(self, space: _Space, first: list[CurationRecord]) -> None:
        def put(advance: Callable[[int], None]) -> None:
            latest = vocabularies.published_with(
                self._platform.catalog,
                tenant=space.tenant,
                vocabulary_hash=space.record.hash,
                limit=MAX_CURATIONS,
            )
            known = {curation.id for curation in first}
            curations = [*first, *(curation for curation in latest if curation.id not in known)]
            concept_vectors.put(
                self._platform,
                space.vocabulary,
                space.concepts_VD,
                tenant=space.tenant,
                vocabulary_id=space.record.id,
                encoder_hash=space.encoder.hash,
                curations=curations[:MAX_CURATIONS],
                advance=advance,
            )

        self._background.start(("put", *space.key), put)

    def _counted(
        self, space: _Space, numbers: Sequence[int], points: Mapping[int, NearConcept]
    ) -> list[schemas.CountedConcept]:
        """Return concepts by number; frequencies come from the points if all have them, else from files."""
        frequencies = {number: points[number].frequency if number in points else None for number in numbers}
        if space.curation is not None and None in frequencies.values():
            arrays = self._concepts.frequencies(space.curation)
            frequencies = {number: Frequency(*(int(of[number]) for of in arrays)) for number in numbers}
        counted: list[schemas.CountedConcept] = []
        for number in numbers:
            named, frequency = points.get(number, space.vocabulary.concepts[number]), frequencies[number]
            concept = schemas.CountedConcept(name=named.name, forms=list(named.forms))
            counted.append(concept if frequency is None else concept.model_copy(update=frequency._asdict()))
        return counted
