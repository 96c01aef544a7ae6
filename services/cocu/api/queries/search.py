"""Search: the samples nearest to a text, an image, another sample or a vector.

The vector store finds them. There are two exceptions:

- Filters that payloads cannot tell (captions, concepts whatever their score) are answered from the concept
  indexes in the files. Where they leave few samples, the cosines of these are computed from the stored
  embeddings, and no request skips a million neighbours that do not satisfy the filters. Where they leave
  many, the nearest from the store that do not satisfy them are skipped.
- Where the store does not answer, or does not have all samples yet, a small dataset is compared as a whole.

However they were found, the similarities of hits are computed from the files: one answer whatever the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cocu import schemas
from cocu.api import cursors
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.filters import FilteredRows, filter_rows, resolve
from cocu.api.queries.index_check import IndexCheck
from cocu.api.queries.query_vectors import choose_encoder, embed_query, encode_vector
from cocu.api.queries.samples import Samples
from cocu.catalog import datasets, samples, vector_state
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.datasets import DatasetRecord
from cocu.curation.archives import Ids
from cocu.encoders.encoder import Float32s
from cocu.encoders.registry import EncoderDescription
from cocu.errors import InvalidInputError, UnavailableError
from cocu.neighbours.matrix import Halves
from cocu.neighbours.query import cosines, nearest
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.vectors import HIGHEST_BAND, LOWEST_BAND, ArchivedConcept

MAX_EXACT = 50_000
"""The most samples whose cosines one request computes from the files: some milliseconds."""
MAX_CANDIDATES = 5_000
"""The most samples that one request takes from the vector store to find those that satisfy the filters."""
CANDIDATES_PER_QUERY = 500
FACET_HITS = 1_000
MAX_CONCEPTS = 10


@dataclass(frozen=True)
class _Hit:
    """A sample that was found."""

    key: str
    shard_id: str
    row: int
    similarity: float


@dataclass(frozen=True)
class _Query:
    """A search request whose names are resolved.

    stored: the filters as the payloads of the vector store tell them; None where they cannot.
    filter_rows: the samples that satisfy the filters, from the files; None without a curation.
    shards: of the curation, those with archives, by id.
    """

    dataset: DatasetRecord
    curation: CurationRecord | None
    encoder: EncoderDescription
    vector_D: Float32s
    sample: str | None
    stored: tuple[ArchivedConcept, ...] | None
    filter_rows: Callable[[], FilteredRows] | None
    shards: Mapping[str, CurationShardRecord]


_Collect = Callable[[int, int], tuple[list[_Hit], int | None]]
"""(first position, limit) → hits, the position to continue at or None at the end."""


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
        self._index_check = IndexCheck(platform)

    def page(self, *, tenant: str, request: schemas.SearchRequest) -> schemas.SearchPage:
        """Return a page of hits. Raises NotFoundError, InvalidInputError, ConflictError, UnavailableError."""
        query = self._query(tenant, request)
        listing = _listing(query, request)
        begin = _position(listing, request.cursor)
        collect = self._collector(query)
        hits, next_position = collect(begin, request.limit)
        facets: list[schemas.Facet] = []
        counted: Sequence[_Hit] = ()
        if request.facets and request.cursor is None:
            counted, _ = collect(0, FACET_HITS)
            facets = self._facets(query, counted, request.facets)
        return schemas.SearchPage(
            items=[self._hit(query, hit) for hit in hits],
            next=None if next_position is None else cursors.encode(listing, str(next_position)),
            encoder=query.encoder.name,
            vector=encode_vector(query.vector_D),
            facets=facets,
            facet_hits=len(counted),
        )

    def _query(self, tenant: str, request: schemas.SearchRequest) -> _Query:
        dataset = datasets.get(self._platform.catalog, tenant=tenant, dataset_id=request.dataset)
        curation = None
        if request.curation is not None:
            curation = self._completed(tenant=tenant, curation=request.curation)
            if curation.dataset_id != dataset.id:
                raise InvalidInputError(
                    "The curation is not of this dataset.",
                    {"body.curation": f"name a curation of dataset {dataset.id}, or search another dataset"},
                )
        encoder = choose_encoder(self._platform, dataset, curation, request.encoder)
        shards = () if curation is None else self._concepts.archived_shards(curation)
        return _Query(
            dataset=dataset,
            curation=curation,
            encoder=encoder,
            vector_D=embed_query(self._platform, dataset, encoder, request),
            sample=request.sample,
            stored=self._stored_filters(dataset, curation, shards, encoder, request.filters),
            filter_rows=self._filter_rows(curation, shards, request.filters),
            shards={shard.shard_id: shard for shard in shards},
        )

    def _filter_rows(
        self,
        curation: CurationRecord | None,
        shards: Sequence[CurationShardRecord],
        filters: schemas.SearchFilters,
    ) -> Callable[[], FilteredRows] | None:
        if curation is None:
            return None
        # Names that are wrong are a problem of the request, whatever answers it.
        resolved = resolve(self._concepts, curation, filters)
        return lambda: filter_rows(self._concepts, curation, shards, resolved)

    def _stored_filters(
        self,
        dataset: DatasetRecord,
        curation: CurationRecord | None,
        shards: Sequence[CurationShardRecord],
        encoder: EncoderDescription,
        filters: schemas.SearchFilters,
    ) -> tuple[ArchivedConcept, ...] | None:
        """Return the filters as the payloads hold them; None where only the files can answer."""
        if curation is None:
            return ()
        if filters.empty:
            # The samples that came after the curation are no hits.
            return () if sum(shard.samples for shard in shards) == dataset.samples else None
        bound = filters.min_score
        is_indexed = (
            bound is not None
            and bound == int(bound)
            and LOWEST_BAND <= bound <= HIGHEST_BAND
            and filters.archive
            and not filters.caption
            and filters.added is not False
            and encoder.hash == curation.encoder_hash
        )
        if not is_indexed or not vector_state.has_concepts(self._platform.catalog, curation_id=curation.id):
            return None
        assert bound is not None
        return tuple(
            ArchivedConcept(
                curation.id,
                self._concepts.find(curation, name, field="body.filters.archive"),
                min_score=int(bound),
                added=bool(filters.added),
            )
            for name in filters.archive
        )

    def _collector(self, query: _Query) -> _Collect:
        filtered = None
        if query.stored is None and query.filter_rows is not None:
            filtered = query.filter_rows()
            if filtered.count <= MAX_EXACT:
                return self._exact(query, _rows_by_shard(filtered))

        def collect(begin: int, limit: int) -> tuple[list[_Hit], int | None]:
            try:
                return self._nearest(query, filtered, begin, limit)
            except UnavailableError:
                if query.dataset.samples > MAX_EXACT:
                    raise
                candidates = (
                    self._embedded(query)
                    if query.filter_rows is None
                    else _rows_by_shard(query.filter_rows())
                )
                return self._exact(query, candidates)(begin, limit)

        return collect

    def _nearest(
        self, query: _Query, filtered: FilteredRows | None, begin: int, limit: int
    ) -> tuple[list[_Hit], int | None]:
        """Return hits from the vector store, from position `begin` on.

        filtered: the samples that may be hits, where the store itself does not filter.
        """
        dataset = query.dataset
        self._index_check.require(tenant=dataset.tenant, dataset=dataset.id, encoder=query.encoder.hash)
        hits: list[_Hit] = []
        position = begin
        # Two more than the limit: one tells whether there is a next page, one replaces the query sample.
        count = limit + 2 if filtered is None else CANDIDATES_PER_QUERY
        while position - begin < MAX_CANDIDATES:
            candidates = self._platform.vectors.search(
                encoder=query.encoder.hash,
                tenant=dataset.tenant,
                dataset=dataset.id,
                vector_D=query.vector_D,
                limit=count,
                offset=position,
                concepts=() if filtered is not None else query.stored or (),
            )
            records = self._records(query, [candidate.key for candidate in candidates])
            for offset, candidate in enumerate(candidates):
                # A sample may be in the vector store and no longer in the catalog.
                record = records.get(candidate.key)
                if record is None or record.key == query.sample:
                    continue
                if filtered is not None and not filtered.contains(record.shard_id, record.row):
                    continue
                if len(hits) == limit:
                    return self._scored(query, hits), position + offset
                hits.append(_Hit(candidate.key, record.shard_id, record.row, candidate.score))
            position += len(candidates)
            if len(candidates) < count:
                return self._scored(query, hits), None
        return self._scored(query, hits), position

    def _scored(self, query: _Query, hits: list[_Hit]) -> list[_Hit]:
        """Return hits with their similarities by the files, best first: the store rounds what it keeps."""
        scored: list[_Hit] = []
        for shard_id in dict.fromkeys(hit.shard_id for hit in hits):
            of_shard = [hit for hit in hits if hit.shard_id == shard_id]
            rows_R = np.array([hit.row for hit in of_shard], np.int64)
            path = paths.embeddings(query.dataset.id, query.encoder.hash, shard_id)
            embeddings_RD = arrays.read_embedding_rows(self._platform.objects, path, rows_R)
            similarities = cosines(embeddings_RD, query.vector_D, np.arange(len(rows_R))).tolist()
            scored += [
                replace(hit, similarity=similarity)
                for hit, similarity in zip(of_shard, similarities, strict=True)
            ]
        order = {hit.key: position for position, hit in enumerate(hits)}
        return sorted(scored, key=lambda hit: (-hit.similarity, order[hit.key]))

    def _records(self, query: _Query, keys: Sequence[str]) -> Mapping[str, samples.SampleRecord]:
        return samples.find_many(
            self._platform.catalog, tenant=query.dataset.tenant, dataset_id=query.dataset.id, keys=keys
        )

    def _embedded(self, query: _Query) -> list[tuple[str, Ids | None]]:
        """Return all shards of the dataset that have embeddings by the encoder of the query."""
        shards = vector_state.embedded(self._platform.catalog, dataset_id=query.dataset.id)
        return [(shard.shard_id, None) for shard in shards if shard.encoder_hash == query.encoder.hash]

    def _exact(self, query: _Query, candidates: list[tuple[str, Ids | None]]) -> _Collect:
        """Return a collector that ranks these samples by their exact cosines, ties in sample order."""

        def collect(begin: int, limit: int) -> tuple[list[_Hit], int | None]:
            embeddings = ((self._embeddings(query, shard_id), rows) for shard_id, rows in candidates)
            # As in `_nearest`: one for the next page, one for the query sample.
            ranked = nearest(embeddings, query.vector_D, limit=begin + limit + 2)
            hits: list[_Hit] = []
            for position in range(begin, len(ranked.rows_K)):
                shard_id, row = candidates[ranked.shards_K[position]][0], int(ranked.rows_K[position])
                key, _ = self._samples.key_and_caption(query.dataset.id, shard_id, row)
                if key == query.sample:
                    continue
                if len(hits) == limit:
                    return hits, position
                hits.append(_Hit(key, shard_id, row, float(ranked.cosines_K[position])))
            return hits, None

        return collect

    def _embeddings(self, query: _Query, shard_id: str) -> Halves:
        path = paths.embeddings(query.dataset.id, query.encoder.hash, shard_id)
        return arrays.read_embeddings(self._platform.objects, path)

    def _hit(self, query: _Query, hit: _Hit) -> schemas.SearchHit:
        _, caption = self._samples.key_and_caption(query.dataset.id, hit.shard_id, hit.row)
        return schemas.SearchHit(
            key=hit.key,
            similarity=hit.similarity,
            caption=caption,
            **self._samples.image_paths(query.dataset.id, hit.shard_id, hit.row),
            concepts=self._best_concepts(query, hit),
        )

    def _best_concepts(self, query: _Query, hit: _Hit) -> list[schemas.HitConcept]:
        if query.curation is None:
            return []
        shard = query.shards.get(hit.shard_id)
        if shard is None:
            return []
        index, names = self._concepts.index(query.curation, shard), self._concepts.names(query.curation)
        first, end = index.offsets_B1[hit.row], index.offsets_B1[hit.row + 1]
        return [
            schemas.HitConcept(
                concept=names[index.concepts_C[entry]],
                score=float(index.scores_C[entry]),
                added=bool(index.added_C[entry]),
            )
            for entry in range(first, min(end, first + MAX_CONCEPTS))
        ]

    def _facets(self, query: _Query, hits: Sequence[_Hit], limit: int) -> list[schemas.Facet]:
        if query.curation is None:
            return []
        names = self._concepts.names(query.curation)
        counts_V = np.zeros(len(names), np.int64)
        for shard in query.shards.values():
            rows_R = np.array([hit.row for hit in hits if hit.shard_id == shard.shard_id], np.int64)
            if len(rows_R):
                counts_V += self._concepts.index(query.curation, shard).counts(rows_R)
        order_V = np.argsort(-counts_V, kind="stable")[:limit].tolist()
        return [
            schemas.Facet(concept=names[concept], hits=int(counts_V[concept]))
            for concept in order_V
            if counts_V[concept]
        ]


def _rows_by_shard(filtered: FilteredRows) -> list[tuple[str, Ids | None]]:
    shards = [shard.shard_id for shard in filtered.shards]
    return list(zip(shards, filtered.rows, strict=True))


def _listing(query: _Query, request: schemas.SearchRequest) -> str:
    """Return the name of the list that a cursor belongs to: the request, the encoder and the archives."""
    content_hash = None if query.curation is None else query.curation.content_hash
    # Without a vector as before there were any: cursors of then go on.
    unsaid = {"cursor", "limit", "facets", *(() if request.vector is not None else ("vector",))}
    conditions = request.model_dump_json(exclude=unsaid)
    return f"search {query.encoder.hash} {content_hash} {conditions}"


def _position(listing: str, cursor: str | None) -> int:
    try:
        return 0 if cursor is None else int(cursors.decode(listing, cursor))
    except InvalidInputError as error:
        raise InvalidInputError(
            str(error), {"body.cursor": "take it unchanged from `next` of the page before, same request"}
        ) from error
