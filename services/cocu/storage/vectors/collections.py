"""Collections: one per encoder, reached by an alias, so that another can take its place in one step."""

from __future__ import annotations

import math
import secrets
import time
from functools import partial

from qdrant_client import QdrantClient, models

from cocu.errors import ConflictError
from cocu.storage.vectors import addressing
from cocu.storage.vectors.connection import Connection, VectorOptions, commit_faster

_LINKS = 16
"""Of a point to others of its dataset, in the graph."""
_INDEXED_FROM = 10_000
"""Kilobytes of vectors in a segment from which on it gets a graph: about 10,000 vectors of 512 halves."""
_OVERSAMPLING = 2.0

SEARCH = models.SearchParams(
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
)
"""What is found by bytes is ranked by the stored vectors; bytes err in the third digit of a cosine."""


class Collections:
    """The collections of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ensure(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder with its payload indexes and alias, unless it is there.

        Raises ConflictError when it is there with other dimensions.
        """
        alias = addressing.alias(encoder)
        if not self._exists(alias):
            first = addressing.collection(encoder, addressing.FIRST)
            self.create(first, dimensions)
            if not self._exists(alias):  # else a rebuilt one took its place while this was made
                self.point(alias, first)
        found = self._connection.call(lambda client: client.get_collection(alias).config.params.vectors)
        if not isinstance(found, models.VectorParams) or found.size != dimensions:
            size = getattr(found, "size", "other")
            raise ConflictError(f"the vectors of encoder {encoder} have {size} dimensions, not {dimensions}")

    def create_another(self, *, encoder: str, dimensions: int) -> str:
        """A new, empty collection for an encoder that no alias leads to; its name.

        No graph is built in it until `build`: that costs less once than again and again while it is filled.
        """
        name = addressing.collection(encoder, secrets.token_hex(6))
        self.create(name, dimensions, building=False)
        return name

    def create(self, name: str, dimensions: int, *, building: bool = True) -> None:
        """Create a collection with its payload indexes; nothing happens where it is."""
        options = self._connection.options
        self._connection.created_meanwhile(
            lambda client: self._create(client, name, dimensions, options, building)
        )
        if self._connection.is_local:  # in process there are no payload indexes
            self._connection.call(commit_faster)
            return
        # Before the first point: graphs for each of a field's values are built of indexed fields only.
        for field, schema in _payload_indexes().items():
            self._connection.call(partial(_index_payload, name, field, schema))

    def build(self, name: str, *, seconds: float) -> bool:
        """Let a filled collection build its graphs; whether they were done in time.

        Searches are answered meanwhile, only slower.
        """
        if self._connection.is_local:
            return True
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

    def point(self, alias: str, collection: str) -> list[str]:
        """Let an alias lead to a collection, in one step; the collections it led to before."""
        before = [
            each.collection_name
            for each in self._connection.call(lambda client: client.get_aliases().aliases)
            if each.alias_name == alias and each.collection_name != collection
        ]
        change: list[models.AliasOperations] = []
        if before:
            change.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        change.append(
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
            )
        )
        self._connection.call(lambda client: client.update_collection_aliases(change))
        return before

    def delete(self, name: str) -> None:
        """Delete a collection and its aliases; nothing happens without it."""
        self._connection.call_there(name, lambda client: client.delete_collection(name), True)

    def names(self, encoder: str | None = None) -> list[str]:
        """Every collection, or those of an encoder, filled or not."""
        found = self._connection.call(lambda client: client.get_collections().collections)
        encoders = {each.name: addressing.encoder_of(each.name) for each in found}
        return sorted(name for name, of in encoders.items() if of is not None and encoder in (None, of))

    def _exists(self, name: str) -> bool:
        # Asked for the collection itself: whether an alias "exists" depends on the version of the server.
        return self._connection.call_there(name, lambda client: bool(client.get_collection(name)), False)

    def _create(
        self, client: QdrantClient, name: str, dimensions: int, options: VectorOptions, building: bool
    ) -> None:
        if self._connection.is_local and client.collection_exists(name):
            return
        byte = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                on_disk=options.on_disk,
            ),
            # Every request is about one dataset of one tenant: a graph for each, instead of one over all.
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=_LINKS),
            optimizers_config=models.OptimizersConfigDiff(
                indexing_threshold=_INDEXED_FROM if building else 0
            ),
            quantization_config=models.ScalarQuantization(scalar=byte) if options.quantised else None,
            replication_factor=options.replicas,
            write_consistency_factor=math.ceil((options.replicas + 1) / 2),
        )


def _index_payload(name: str, field: str, schema: models.KeywordIndexParams, client: QdrantClient) -> None:
    client.create_payload_index(name, field, schema)


def _payload_indexes() -> dict[str, models.KeywordIndexParams]:
    keyword = models.KeywordIndexType.KEYWORD
    return {
        # What belongs to one tenant lies together on the disk.
        "tenant": models.KeywordIndexParams(type=keyword, is_tenant=True),
        "dataset": models.KeywordIndexParams(type=keyword),
    }
