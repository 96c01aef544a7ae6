"""Search: the samples nearest to a text, a picture or another sample.

A Qdrant server finds the nearest of all. Where filters leave only some samples, their cosines are computed
from the embeddings themselves: exact whatever is filtered for, and never a walk through a million neighbours
that the filter refuses. Where filters leave many, the nearest are taken from the server and those refused are
passed over. Without a server the embeddings are compared whatever is left: a store in a folder would compare
every point too, and in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cocu.api import cursors
from cocu.api.reading.allowed import Allowed, allowed
from cocu.api.reading.concepts import Concepts
from cocu.api.reading.queries import encoder_of, query_vector
from cocu.api.reading.samples import Samples
from cocu.api.reading.whole_index import WholeIndex
from cocu.client import models
from cocu.curation.archives import Ids
from cocu.encoders.encoder import Float32s
from cocu.encoders.offered import EncoderDescription
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.catalog import datasets, indexing, samples
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.datasets import DatasetRecord

MOST_EXACT = 50_000
"""Samples whose cosines one request computes from files: tens of milliseconds."""
MOST_CANDIDATES = 5_000
"""Samples that one request takes from the vector store to pass over those that filters refuse."""
CANDIDATES_AT_ONCE = 500
FACET_HITS = 1_000
MOST_CONCEPTS = 10
BLOCK = 8_192


@dataclass(frozen=True)
class _Found:
    """A sample that was found."""

    key: str
    shard_id: str
    row: int
    similarity: float


@dataclass(frozen=True)
class _Query:
    """A request with everything that it names looked up."""

    dataset: DatasetRecord
    curation: CurationRecord | None
    encoder: EncoderDescription
    vector_D: Float32s
    allowed: Allowed | None
    sample: str | None

    def accepts(self, record: samples.SampleRecord) -> bool:
        """Whether a sample may be found: it is not the one asked about, and within the filters."""
        if record.key == self.sample:
            return False
        return self.allowed is None or self.allowed.holds(record.shard_id, record.row)


_Collect = Callable[[int, int], tuple[list[_Found], int | None]]
"""(position to begin at, hits wanted) → hits, position of what follows."""


class Search:
    """Search over every dataset of a platform."""

    def __init__(
        self,
        platform: Platform,
        samples_: Samples,
        concepts: Concepts,
        completed: Callable[..., CurationRecord],
    ) -> None:
        self._platform = platform
        self._samples = samples_
        self._concepts = concepts
        self._completed = completed
        self._whole = WholeIndex(platform)

    def page(self, *, tenant: str, request: models.SearchRequest) -> models.SearchPage:
        """A page of hits. Raises NotFoundError, InvalidInputError, ConflictError, UnavailableError."""
        query = self._query(tenant, request)
        listing = _listing(query, request)
        begin = _position(listing, request.cursor)
        collect = self._collector(query)
        found, following = collect(begin, request.limit)
        facets: list[models.Facet] = []
        counted: Sequence[_Found] = ()
        if request.facets and request.cursor is None:
            counted, _ = collect(0, FACET_HITS)
            facets = self._facets(query, counted, request.facets)
        return models.SearchPage(
            items=[self._hit(query, each) for each in found],
            next=None if following is None else cursors.encode(listing, str(following)),
            encoder=query.encoder.name,
            facets=facets,
            facet_hits=len(counted),
        )

    def _query(self, tenant: str, request: models.SearchRequest) -> _Query:
        dataset = datasets.get(self._platform.catalog, tenant=tenant, dataset_id=request.dataset)
        curation = None
        if request.curation is not None:
            curation = self._completed(tenant=tenant, curation=request.curation)
            if curation.dataset_id != dataset.id:
                raise InvalidInputError(
                    "The curation is not of this dataset.",
                    {"body.curation": f"name a curation of dataset {dataset.id}, or search another dataset"},
                )
        within = None if curation is None else allowed(self._concepts, curation, request.filters)
        encoder = encoder_of(self._platform, dataset, curation, request.encoder)
        return _Query(
            dataset=dataset,
            curation=curation,
            encoder=encoder,
            vector_D=query_vector(self._platform, dataset, encoder, request),
            allowed=within,
            sample=request.sample,
        )

    def _collector(self, query: _Query) -> _Collect:
        filtered = query.allowed is not None and query.allowed.count < query.dataset.samples
        few = query.allowed is not None and filtered and query.allowed.count <= MOST_EXACT
        if few or compares_all(self._platform):
            return self._ranked(query, self._candidates(query))
        return lambda begin, wanted: self._nearest(query, begin, wanted, passing_over=filtered)

    def _nearest(
        self, query: _Query, begin: int, wanted: int, *, passing_over: bool
    ) -> tuple[list[_Found], int | None]:
        """Hits from the vector store, from the one at position `begin` on."""
        self._whole.require(tenant=query.dataset.tenant, dataset=query.dataset.id, encoder=query.encoder.hash)
        hits: list[_Found] = []
        position = begin
        # One more says whether anything follows; another stands in for the sample that is asked about.
        at_once = CANDIDATES_AT_ONCE if passing_over else wanted + 2
        while position - begin < MOST_CANDIDATES:
            found = self._platform.vectors.search(
                encoder=query.encoder.hash,
                tenant=query.dataset.tenant,
                dataset=query.dataset.id,
                vector_D=query.vector_D,
                limit=at_once,
                offset=position,
            )
            records = self._records(query, [hit.key for hit in found])
            for number, hit in enumerate(found):
                record = records.get(hit.key)
                if record is None or not query.accepts(record):
                    continue
                if len(hits) == wanted:
                    return hits, position + number
                hits.append(_Found(hit.key, record.shard_id, record.row, hit.score))
            position += len(found)
            if len(found) < at_once:
                return hits, None
        return hits, position

    def _records(self, query: _Query, keys: Sequence[str]) -> Mapping[str, samples.SampleRecord]:
        return samples.find_many(
            self._platform.catalog, tenant=query.dataset.tenant, dataset_id=query.dataset.id, keys=keys
        )

    def _candidates(self, query: _Query) -> list[tuple[str, Ids]]:
        """(shard, rows) of the samples that may be found; all that are indexed without a curation."""
        if query.allowed is not None:
            shards = [shard.shard_id for shard in query.allowed.shards]
            return list(zip(shards, query.allowed.rows, strict=True))
        indexed = indexing.indexed_shards(
            self._platform.catalog,
            tenant=query.dataset.tenant,
            dataset_id=query.dataset.id,
            encoder_hash=query.encoder.hash,
        )
        return [(shard_id, np.arange(samples)) for shard_id, samples in indexed]

    def _ranked(self, query: _Query, among: list[tuple[str, Ids]]) -> _Collect:
        """Hits among these samples, by their exact cosines, ties in sample order."""
        similarities = [self._cosines(query, shard_id, rows) for shard_id, rows in among]
        similarities_R = np.concatenate([np.zeros(0, np.float32), *similarities])
        shards_R = np.repeat(np.arange(len(among)), [len(rows) for _, rows in among])
        rows_R = np.concatenate([np.zeros(0, np.int64), *(rows for _, rows in among)])
        order_R = np.argsort(-similarities_R, kind="stable")

        def collect(begin: int, wanted: int) -> tuple[list[_Found], int | None]:
            hits: list[_Found] = []
            for position in range(begin, len(order_R)):
                at = order_R[position]
                shard_id, row = among[shards_R[at]][0], int(rows_R[at])
                key, _ = self._samples.key_and_caption(query.dataset.id, shard_id, row)
                if key == query.sample:
                    continue
                if len(hits) == wanted:
                    return hits, position
                hits.append(_Found(key, shard_id, row, float(similarities_R[at])))
            return hits, None

        return collect

    def _cosines(self, query: _Query, shard_id: str, rows_R: Ids) -> Float32s:
        path = paths.embeddings(query.dataset.id, query.encoder.hash, shard_id)
        embeddings_ND = arrays.read_embeddings(self._platform.objects, path)
        cosines_R = np.zeros(len(rows_R), np.float32)
        unit_D = query.vector_D / np.linalg.norm(query.vector_D)
        for start in range(0, len(rows_R), BLOCK):
            part = slice(start, start + BLOCK)
            images_TD = embeddings_ND[rows_R[part]].astype(np.float32)
            lengths_T = np.maximum(np.linalg.norm(images_TD, axis=1), np.finfo(np.float32).tiny)
            cosines_R[part] = images_TD @ unit_D / lengths_T
        return cosines_R

    def _hit(self, query: _Query, found: _Found) -> models.SearchHit:
        _, caption = self._samples.key_and_caption(query.dataset.id, found.shard_id, found.row)
        return models.SearchHit(
            key=found.key,
            similarity=found.similarity,
            caption=caption,
            **self._samples.pictures(query.dataset.id, found.shard_id, found.row),
            concepts=self._best_concepts(query, found),
        )

    def _best_concepts(self, query: _Query, found: _Found) -> list[models.HitConcept]:
        if query.curation is None or query.allowed is None:
            return []
        shard = next(each for each in query.allowed.shards if each.shard_id == found.shard_id)
        index, names = self._concepts.index(query.curation, shard), self._concepts.names(query.curation)
        first, end = index.offsets_B1[found.row], index.offsets_B1[found.row + 1]
        return [
            models.HitConcept(
                concept=names[index.concepts_C[entry]],
                score=float(index.scores_C[entry]),
                added=bool(index.added_C[entry]),
            )
            for entry in range(first, min(end, first + MOST_CONCEPTS))
        ]

    def _facets(self, query: _Query, hits: Sequence[_Found], most: int) -> list[models.Facet]:
        if query.curation is None or query.allowed is None:
            return []
        names = self._concepts.names(query.curation)
        counts_V = np.zeros(len(names), np.int64)
        for shard in query.allowed.shards:
            rows_R = np.array([hit.row for hit in hits if hit.shard_id == shard.shard_id], np.int64)
            if len(rows_R):
                counts_V += self._concepts.index(query.curation, shard).counts(rows_R)
        order_V = np.argsort(-counts_V, kind="stable")[:most].tolist()
        return [
            models.Facet(concept=names[concept], hits=int(counts_V[concept]))
            for concept in order_V
            if counts_V[concept]
        ]


def compares_all(platform: Platform) -> bool:
    """Whether every search computes the cosines of all that it may find."""
    return platform.vectors.is_local


def _listing(query: _Query, request: models.SearchRequest) -> str:
    """The name of the list that a cursor belongs to: the request, and what it was asked of."""
    content_hash = None if query.curation is None else query.curation.content_hash
    asked = request.model_dump_json(exclude={"cursor", "limit", "facets"})
    return f"search {query.encoder.hash} {content_hash} {asked}"


def _position(listing: str, cursor: str | None) -> int:
    try:
        return 0 if cursor is None else int(cursors.decode(listing, cursor))
    except InvalidInputError as error:
        raise InvalidInputError(
            str(error), {"body.cursor": "take it unchanged from `next` of the page before, same request"}
        ) from error
