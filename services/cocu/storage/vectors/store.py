"""Vectors of samples: every call names a tenant and a dataset, and sees nothing else.

Qdrant has no tenants of its own, so this class puts the filter into every request. One collection per encoder
holds the samples of all tenants; a point's id is made of tenant, dataset and key, so that doing a thing twice
changes nothing and nobody can address another's point. Writes are waited for: what a call has written, the
next one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from cocu.storage.vectors import addressing
from cocu.storage.vectors.collections import SEARCH, Collections
from cocu.storage.vectors.connection import Connection, VectorOptions

_BATCH = 256
_BUILD_SECONDS = 3600.0

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Hit:
    """One found sample: its key, its global row in the snapshot, and the cosine similarity."""

    key: str
    row: int
    score: float


class Vectors:
    """Sample vectors, one collection per encoder. Safe to use from many threads.

    Every method raises UnavailableError when the store does not answer, and ValueError for an empty tenant or
    dataset or for names other than letters, digits, `_` and `-` where encoders and curations are meant.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._collections = Collections(connection)

    @classmethod
    def open(cls, location: str, *, options: VectorOptions | None = None) -> Vectors:
        """Open a folder (created if need be), ":memory:" or an http(s) URL, whose server may come up later.

        Raises UnavailableError when another process holds the folder.
        """
        return cls(Connection.open(location, options or VectorOptions()))

    @property
    def is_local(self) -> bool:
        """Whether the store is a part of this process, which looks at every point of it in a search."""
        return self._connection.is_local

    def close(self) -> None:
        """Release the folder or the connection."""
        self._connection.close()

    def check(self, *, seconds: float = 1.0) -> None:
        """Raises UnavailableError unless the server, if it is one, says within this time that it is ready."""
        self._connection.check(seconds)

    def ensure_collection(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder (named by its hash) and its payload indexes, unless it exists.

        Raises ConflictError when it exists with other dimensions.
        """
        self._collections.ensure(encoder=encoder, dimensions=dimensions)

    def upsert_samples(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: Floats,
    ) -> None:
        """Insert or replace samples with consecutive global rows from `first_row` on.

        Concepts noted for a replaced sample are forgotten. Raises ValueError for vectors that do not fit
        the keys or are not finite. A zero vector is similar to nothing (cosine 0).
        """
        self._upsert(addressing.alias(encoder), tenant, dataset, keys, first_row, embeddings_ND)

    @contextmanager
    def filling(self, *, encoder: str, dimensions: int) -> Iterator[Filling]:
        """A new, empty collection beside the one in use; `switch` lets it take that one's place.

        It is deleted at the end where that did not happen.
        """
        filling = Filling(self, self._collections, encoder=encoder, dimensions=dimensions)
        try:
            yield filling
        finally:
            if not filling.switched:
                self._collections.delete(filling.collection)

    def search(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        vector_D: Floats,
        limit: int = 20,
        offset: int = 0,
        curation: str | None = None,
        concepts: Sequence[str] = (),
    ) -> list[Hit]:
        """The nearest samples, nearest first, ties by row; none of a dataset that is not indexed.

        offset: how many of the nearest to leave out.
        curation, concepts: only samples whose archive in that curation holds all of these concepts.
        """
        alias = addressing.alias(encoder)
        conditions = addressing.within(tenant, dataset)
        if concepts:
            field = addressing.archive_field(curation)
            conditions += [addressing.equals(f"archives.{field}", concept) for concept in concepts]
        vector = np.asarray(vector_D, dtype=np.float32).tolist()

        def query(client: QdrantClient) -> list[models.ScoredPoint]:
            return client.query_points(
                alias,
                query=vector,
                query_filter=models.Filter(must=[*conditions]),
                search_params=None if self.is_local else SEARCH,
                limit=limit,
                offset=offset,
                with_payload=["key", "row"],
            ).points

        nothing: list[models.ScoredPoint] = []
        found = self._connection.call_there(alias, query, nothing)
        hits = [
            Hit(point.payload["key"], point.payload["row"], point.score) for point in found if point.payload
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.row))

    def set_concepts(
        self,
        *,
        encoder: str,
        tenant: str,
        dataset: str,
        curation: str,
        keys: Sequence[str],
        concepts: Sequence[Sequence[str]],
    ) -> None:
        """Note the archived concepts of samples under a curation; passes over samples not indexed."""
        alias = addressing.alias(encoder)
        self._set_concepts(alias, tenant, dataset, curation, keys, concepts)

    def forget_curation(self, *, encoder: str, tenant: str, dataset: str, curation: str) -> None:
        """Take back what `set_concepts` noted under a curation."""
        alias, field = addressing.alias(encoder), addressing.archive_field(curation)
        selected = models.Filter(must=[*addressing.within(tenant, dataset)])
        self._connection.call_there(
            alias,
            lambda client: client.delete_payload(alias, keys=[f"archives.{field}"], points=selected),
            None,
            bulk=True,
        )

    def count(self, *, encoder: str, tenant: str, dataset: str) -> int:
        """How many samples of the dataset are indexed."""
        alias = addressing.alias(encoder)
        selected = models.Filter(must=[*addressing.within(tenant, dataset)])
        return self._connection.call_there(alias, lambda client: int(client.count(alias, selected).count), 0)

    def delete_dataset(self, *, tenant: str, dataset: str) -> None:
        """Forget a dataset in every collection, also in those that are being filled."""
        selected = models.FilterSelector(filter=models.Filter(must=[*addressing.within(tenant, dataset)]))
        for name in self._collections.names():
            self._connection.call_there(name, partial(_delete, name, selected), None, bulk=True)

    def _upsert(
        self,
        collection: str,
        tenant: str,
        dataset: str,
        keys: Sequence[str],
        first_row: int,
        embeddings_ND: Floats,
    ) -> None:
        if np.ndim(embeddings_ND) != 2 or len(embeddings_ND) != len(keys):
            shape = np.shape(embeddings_ND)
            raise ValueError(f"{len(keys)} keys and vectors of shape {shape} do not belong together")
        if not np.isfinite(embeddings_ND).all():
            raise ValueError("vectors must be finite")
        ids = addressing.ids(tenant, dataset, keys)

        def send(start: int) -> None:
            part = slice(start, start + _BATCH)
            payloads = [
                {"tenant": tenant, "dataset": dataset, "key": key, "row": row}
                for row, key in enumerate(keys[part], first_row + start)
            ]
            vectors = np.asarray(embeddings_ND[part], np.float32).tolist()
            points = models.Batch(ids=[*ids[part]], vectors=vectors, payloads=payloads)
            self._connection.call(lambda client: client.upsert(collection, points, wait=True), bulk=True)

        self._side_by_side(send, range(0, len(keys), _BATCH))

    def _set_concepts(
        self,
        collection: str,
        tenant: str,
        dataset: str,
        curation: str,
        keys: Sequence[str],
        concepts: Sequence[Sequence[str]],
    ) -> None:
        field = addressing.archive_field(curation)
        ids = addressing.ids(tenant, dataset, keys)

        def note(client: QdrantClient, part: slice) -> None:
            there = {str(point.id) for point in client.retrieve(collection, [*ids[part]], with_payload=False)}
            operations = [
                models.SetPayloadOperation(
                    set_payload=models.SetPayload(
                        payload={field: list(archived)}, points=[id], key="archives"
                    )
                )
                for id, archived in zip(ids[part], concepts[part], strict=True)
                if id in there
            ]
            if operations:
                client.batch_update_points(collection, operations, wait=True)

        def send(start: int) -> None:
            part = slice(start, start + _BATCH)
            self._connection.call_there(collection, lambda client: note(client, part), None, bulk=True)

        self._side_by_side(send, range(0, len(keys), _BATCH))

    def _side_by_side(self, send: Callable[[int], None], starts: Sequence[int]) -> None:
        """Calls with every start, several at once on a server; the first error ends it."""
        at_once = min(self._connection.options.upserts_at_once, len(starts))
        if self._connection.is_local or at_once <= 1:
            for start in starts:
                send(start)
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="vectors") as pool:
            sent = [pool.submit(send, start) for start in starts]
            try:
                for each in sent:
                    each.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class Filling:
    """A collection of an encoder that is being filled beside the one in use."""

    def __init__(self, vectors: Vectors, collections: Collections, *, encoder: str, dimensions: int) -> None:
        self._vectors = vectors
        self._collections = collections
        self._encoder = encoder
        self.collection = collections.create_another(encoder=encoder, dimensions=dimensions)
        self.switched = False

    def upsert_samples(
        self, *, tenant: str, dataset: str, keys: Sequence[str], first_row: int, embeddings_ND: Floats
    ) -> None:
        """As `Vectors.upsert_samples`."""
        self._vectors._upsert(self.collection, tenant, dataset, keys, first_row, embeddings_ND)

    def set_concepts(
        self,
        *,
        tenant: str,
        dataset: str,
        curation: str,
        keys: Sequence[str],
        concepts: Sequence[Sequence[str]],
    ) -> None:
        """As `Vectors.set_concepts`."""
        self._vectors._set_concepts(self.collection, tenant, dataset, curation, keys, concepts)

    def switch(self) -> bool:
        """Build the graphs, take the place of the collection in use in one step, and delete that one.

        Whether the graphs were done in time: if not, the server goes on building them.
        """
        built = self._collections.build(self.collection, seconds=_BUILD_SECONDS)
        self._collections.point(addressing.alias(self._encoder), self.collection)
        self.switched = True
        for name in self._collections.names(self._encoder):
            if name != self.collection:
                self._collections.delete(name)
        return built


def _delete(name: str, selected: models.FilterSelector, client: QdrantClient) -> None:
    client.delete(name, selected, wait=True)
