"""Vectors on a Qdrant server: one collection per encoder and kind, which every tenant's requests share.

A collection is reached by an alias, so that another generation can take its place in one step. A point's id
is made of tenant, owner and key, and every request carries the filter that keeps it within one owner.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from cocu.errors import ConflictError
from cocu.vectors.backend import INDEXED, Condition, Match, Owner, Points, VectorOptions
from cocu.vectors.connection import Connection

FIRST = "first"
"""The generation of a collection that was never rebuilt: two that create it at once create the same."""
OWNER_FIELD = {"samples": "dataset", "concepts": "vocabulary"}
_COLLECTIONS = {"samples": "vectors-", "concepts": "concept-vectors-"}
"""What the names of collections begin with, by kind; those of aliases begin otherwise."""
_LINKS = 16
"""Of a point to others of its owner, in the graph."""
_INDEXED_FROM = 10_000
"""Kilobytes of vectors in a segment from which on it gets a graph: about 10,000 vectors of 512 halves."""
_OVERSAMPLING = 2.0
_BUILD_SECONDS = 3600.0
_MAX_LIMIT = 20_000
"""Points, or numbers of a facet, that one request may ask for: more than the platform ever does."""
_MAX_BATCH = 1_024

_SEARCH = models.SearchParams(
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
)
"""What is found by bytes is ranked by the stored vectors; bytes err in the third digit of a cosine."""


class ServerStore:
    """A `Backend` on a Qdrant server. Safe to use from many threads."""

    is_local = False
    batch = 256
    lost = 0

    def __init__(self, connection: Connection, options: VectorOptions) -> None:
        self._connection = connection
        self._options = options
        self.batches_at_once = options.upserts_at_once

    @classmethod
    def open(cls, url: str, options: VectorOptions) -> ServerStore:
        """Open a server, which may come up later."""
        return cls(Connection.open(url, options), options)

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def check(self, seconds: float) -> None:
        """Raise UnavailableError unless the server says within this time that it is ready."""
        self._connection.check(seconds)

    def ensure(self, collection: str, dimensions: int) -> None:
        """Create the collection with its payload indexes and alias, unless it is there."""
        if not self._exists(collection):
            first = _name(collection, FIRST)
            self._create(first, dimensions)
            if not self._exists(collection):  # else a rebuilt one took its place while this was made
                self._point(collection, first)
        vectors = self._connection.call(
            lambda client: client.get_collection(collection).config.params.vectors
        )
        if not isinstance(vectors, models.VectorParams) or vectors.size != dimensions:
            size = getattr(vectors, "size", "other")
            raise ConflictError(f"the vectors of {collection} have {size} dimensions, not {dimensions}")

    def generations(self, collection: str) -> list[str]:
        """The generations of a collection, filled or not."""
        start, end = _name(collection, "\0").split("\0")
        names = [name for name in self._names() if name.startswith(start) and name.endswith(end)]
        generations = [name[len(start) : len(name) - len(end)] for name in names]
        return sorted(generation for generation in generations if "-" not in generation)

    def begin(self, collection: str, dimensions: int) -> str:
        """Create a new, empty generation; its name.

        No graph is built in it until `switch`: that costs less once than again and again while it is filled.
        """
        generation = secrets.token_hex(6)
        self._create(_name(collection, generation), dimensions, indexing=False)
        return generation

    def switch(self, collection: str, generation: str) -> bool:
        """Build the graphs, point the alias to this generation, and delete all others."""
        built = self._build(_name(collection, generation), seconds=_BUILD_SECONDS)
        self._point(collection, _name(collection, generation))
        for other in self.generations(collection):
            if other != generation:
                self.drop(collection, other)
        return built

    def drop(self, collection: str, generation: str) -> None:
        """Delete a generation and the aliases that lead to it."""
        name = _name(collection, generation)
        self._connection.call_there(name, lambda client: client.delete_collection(name), True)

    def upsert(self, collection: str, owner: Owner, points: Points, generation: str | None = None) -> None:
        """Insert or replace points."""
        name = collection if generation is None else _name(collection, generation)
        of_owner = {"tenant": owner.tenant, OWNER_FIELD[_kind(collection)]: owner.id}
        batch = models.Batch(
            ids=[*points.ids],
            vectors=points.vectors_ND.tolist(),
            payloads=[of_owner | payload for payload in points.payloads],
        )
        self._connection.call(lambda client: client.upsert(name, batch, wait=True), bulk=True)

    def search(
        self,
        collection: str,
        owner: Owner,
        vector_D: NDArray[np.float32],
        conditions: Sequence[Condition],
        *,
        limit: int,
        offset: int,
        fields: Sequence[str],
    ) -> list[Match]:
        """The nearest points that satisfy all conditions, nearest first."""
        vector, within = vector_D.tolist(), _filter(collection, owner, conditions)

        def query(client: QdrantClient) -> list[models.ScoredPoint]:
            return client.query_points(
                collection,
                query=vector,
                query_filter=within,
                search_params=_SEARCH,
                limit=limit,
                offset=offset,
                with_payload=[*fields],
            ).points

        nothing: list[models.ScoredPoint] = []
        points = self._connection.call_there(collection, query, nothing)
        return [Match(point.score, point.payload or {}) for point in points]

    def count(self, collection: str, owner: Owner, conditions: Sequence[Condition] = ()) -> int:
        """How many points satisfy all conditions."""
        within = _filter(collection, owner, conditions)
        return self._connection.call_there(
            collection, lambda client: int(client.count(collection, within).count), 0
        )

    def facet(
        self, collection: str, owner: Owner, name: str, conditions: Sequence[Condition], *, limit: int
    ) -> dict[int, int]:
        """How many of the points that satisfy all conditions hold each number of a field, most first."""
        within = _filter(collection, owner, conditions)

        def count(client: QdrantClient) -> dict[int, int]:
            response = client.facet(collection, name, facet_filter=within, limit=limit, exact=True)
            return {int(hit.value): hit.count for hit in response.hits}

        return self._connection.call_there(collection, count, {})

    def delete_owner(self, kind: str, owner: Owner) -> None:
        """Delete an owner's points from every collection of a kind, whatever the generation."""
        selected = models.FilterSelector(filter=models.Filter(must=[*_within(kind, owner)]))
        for name in self._names():
            if name.startswith(_COLLECTIONS[kind]):
                self._connection.call_there(name, partial(_delete, name, selected), None, bulk=True)

    def _names(self) -> list[str]:
        listed = self._connection.call(lambda client: client.get_collections().collections)
        return [collection.name for collection in listed]

    def _exists(self, name: str) -> bool:
        # Asked for the collection itself: whether an alias "exists" depends on the version of the server.
        return self._connection.call_there(name, lambda client: bool(client.get_collection(name)), False)

    def _create(self, name: str, dimensions: int, *, indexing: bool = True) -> None:
        self._connection.created_meanwhile(partial(_create, name, dimensions, indexing, self._options))
        # Before the first point: graphs for each of a field's values are built of indexed fields only.
        kind = next(kind for kind, start in _COLLECTIONS.items() if name.startswith(start))
        for field, schema in _payload_indexes(kind).items():
            self._connection.call(partial(_index_payload, name, field, schema))

    def _build(self, name: str, *, seconds: float) -> bool:
        """Let a filled generation build its graphs; whether they were done in time.

        Searches are answered meanwhile, only slower.
        """
        begin = models.OptimizersConfigDiff(indexing_threshold=_INDEXED_FROM)
        self._connection.call(lambda client: client.update_collection(name, optimizers_config=begin))
        end = time.monotonic() + seconds
        pause = 0.2
        while True:
            status = self._connection.call(lambda client: client.get_collection(name).status)
            if status == models.CollectionStatus.GREEN:
                return True
            if time.monotonic() + pause > end:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _point(self, alias: str, name: str) -> None:
        """Let an alias lead to a collection, in one step."""
        aliases = self._connection.call(lambda client: client.get_aliases().aliases)
        change: list[models.AliasOperations] = []
        if any(entry.alias_name == alias and entry.collection_name != name for entry in aliases):
            change.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        create = models.CreateAlias(collection_name=name, alias_name=alias)
        change.append(models.CreateAliasOperation(create_alias=create))
        self._connection.call(lambda client: client.update_collection_aliases(change))


def _kind(collection: str) -> str:
    return collection.partition("-")[0]


def _name(collection: str, generation: str) -> str:
    """The name of a generation of a collection; a generation has no `-`."""
    kind, _, encoder = collection.partition("-")
    return f"{_COLLECTIONS[kind]}{generation}-{encoder}"


def _within(kind: str, owner: Owner) -> list[models.Condition]:
    return [_equals("tenant", owner.tenant), _equals(OWNER_FIELD[kind], owner.id)]


def _filter(collection: str, owner: Owner, conditions: Sequence[Condition]) -> models.Filter:
    own = _within(_kind(collection), owner)
    return models.Filter(
        must=[*own, *(_one_of(condition.field, condition.numbers) for condition in conditions)]
    )


def _equals(field: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _one_of(field: str, numbers: Sequence[int]) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchAny(any=[*numbers]))


def _create(name: str, dimensions: int, indexing: bool, options: VectorOptions, client: QdrantClient) -> None:
    byte = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    client.create_collection(
        name,
        vectors_config=models.VectorParams(
            size=dimensions,
            distance=models.Distance.COSINE,
            datatype=models.Datatype.FLOAT16,
            on_disk=options.on_disk,
        ),
        # Every request is about one owner: a graph for each, instead of one over all.
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=_LINKS),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=_INDEXED_FROM if indexing else 0),
        quantization_config=models.ScalarQuantization(scalar=byte) if options.quantised else None,
        shard_number=options.shards,
        replication_factor=options.replicas,
        # One copy is enough for a write to be done: the files have everything, and a replica that was away
        # catches up. With more, no write would succeed while a node is down.
        write_consistency_factor=1,
        # What would be slow, or would take all memory, is refused instead, whatever the server's defaults.
        strict_mode_config=models.StrictModeConfig(
            enabled=True,
            unindexed_filtering_retrieve=False,
            unindexed_filtering_update=False,
            max_query_limit=_MAX_LIMIT,
            upsert_max_batchsize=_MAX_BATCH,
        ),
    )


_IndexParams = models.KeywordIndexParams | models.IntegerIndexParams


def _index_payload(name: str, field: str, schema: _IndexParams, client: QdrantClient) -> None:
    client.create_payload_index(name, field, schema)


def _payload_indexes(kind: str) -> dict[str, _IndexParams]:
    keyword, integer = models.KeywordIndexType.KEYWORD, models.IntegerIndexType.INTEGER
    # What belongs to one tenant lies together on the disk.
    indexes: dict[str, _IndexParams] = {"tenant": models.KeywordIndexParams(type=keyword, is_tenant=True)}
    # Graphs for each number of an archive would cost much: filters by numbers are answered by their lists.
    for field in INDEXED[kind]:
        indexes[field] = models.IntegerIndexParams(type=integer, lookup=True, range=False, enable_hnsw=False)
    return indexes | {OWNER_FIELD[kind]: models.KeywordIndexParams(type=keyword)}


def _delete(name: str, selected: models.FilterSelector, client: QdrantClient) -> None:
    client.delete(name, selected, wait=True)
