"""Vectors of samples in Qdrant: every call names a tenant and a dataset, and sees nothing else.

Qdrant has no tenants of its own, so this class puts the filter into every request, and no other module
may use a Qdrant client. One collection per encoder holds the samples of all tenants; a point's id is made
of tenant, dataset and key, so that doing a thing twice changes nothing and nobody can address another's
point. The same class serves a folder (in process, one process at a time) and a server. What is here is a
copy of what the files hold: it can be lost and made again.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import threading
import uuid
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import numpy as np
import portalocker
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException
from qdrant_client.local.local_collection import LocalCollection
from qdrant_client.local.qdrant_local import QdrantLocal

from cocu.errors import ConflictError, UnavailableError

_NAMESPACE = uuid.UUID("6f0d3c2e-6d35-5a3b-9c53-0e7d2b8f4a11")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_BATCH = 256
_SECONDS = 10

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

    def __init__(self, client: QdrantClient, *, is_local: bool) -> None:
        self._client = client
        self._is_local = is_local
        # The in-process client is not made for threads; a server takes care of itself.
        self._lock: AbstractContextManager[object] = threading.RLock() if is_local else nullcontext()
        self._known: set[str] = set()
        # Closed at the end of the program at the latest, while what closing needs is still there.
        self._close = weakref.finalize(self, client.close)

    @classmethod
    def open(cls, location: str, *, api_key: str | None = None, prefer_grpc: bool = True) -> Vectors:
        """Open a folder (created if need be), ":memory:" or an http(s) URL, whose server may come up later.

        Raises UnavailableError when another process holds the folder.
        """
        if location.startswith(("http://", "https://")):
            client = QdrantClient(
                url=location,
                api_key=api_key,
                prefer_grpc=prefer_grpc,
                timeout=_SECONDS,
                check_compatibility=False,
            )
            return cls(client, is_local=False)
        _forgo_advice()
        if location == ":memory:":
            return cls(QdrantClient(location), is_local=True)
        folder = Path(location.removeprefix("file://")).expanduser().absolute()
        with _translated(f"the vectors in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            client = _open_folder(folder)
        return cls(client, is_local=True)

    def close(self) -> None:
        """Release the folder or the connection."""
        with self._lock:
            self._close()

    def ensure_collection(self, *, encoder: str, dimensions: int) -> None:
        """Create the collection of an encoder (named by its hash) and its payload indexes, unless it exists.

        Raises ConflictError when it exists with other dimensions.
        """
        name = _collection(encoder)
        with self._calling():
            if not self._client.collection_exists(name):
                self._create(name, dimensions)
            found = self._client.get_collection(name).config.params.vectors
        if not isinstance(found, models.VectorParams) or found.size != dimensions:
            size = getattr(found, "size", "other")
            raise ConflictError(f"the vectors of encoder {encoder} have {size} dimensions, not {dimensions}")
        self._known.add(name)

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
        name = _collection(encoder)
        vectors_ND = np.asarray(embeddings_ND, dtype=np.float32)
        if vectors_ND.ndim != 2 or len(vectors_ND) != len(keys):
            shape = vectors_ND.shape
            raise ValueError(f"{len(keys)} keys and vectors of shape {shape} do not belong together")
        if not np.isfinite(vectors_ND).all():
            raise ValueError("vectors must be finite")
        payloads: list[dict[str, Any]] = [
            {"tenant": tenant, "dataset": dataset, "key": key, "row": first_row + number}
            for number, key in enumerate(keys)
        ]
        ids = _ids(tenant, dataset, keys)
        for start in range(0, len(keys), _BATCH):
            part = slice(start, start + _BATCH)
            points = models.Batch(
                ids=[*ids[part]], vectors=vectors_ND[part].tolist(), payloads=[*payloads[part]]
            )
            with self._calling():
                self._client.upsert(name, points)

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
        name = _collection(encoder)
        conditions = _within(tenant, dataset)
        if concepts:
            field = _archive_field(curation)
            conditions += [_equals(f"archives.{field}", concept) for concept in concepts]
        with self._calling():
            if not self._exists(name):
                return []
            found = self._client.query_points(
                name,
                query=np.asarray(vector_D, dtype=np.float32).tolist(),
                query_filter=models.Filter(must=[*conditions]),
                limit=limit,
                offset=offset,
                with_payload=["key", "row"],
            )
        hits = [
            Hit(point.payload["key"], point.payload["row"], point.score)
            for point in found.points
            if point.payload
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
        name, field = _collection(encoder), _archive_field(curation)
        ids = _ids(tenant, dataset, keys)
        for start in range(0, len(keys), _BATCH):
            part = slice(start, start + _BATCH)
            with self._calling():
                if not self._exists(name):
                    return
                indexed = {
                    str(point.id) for point in self._client.retrieve(name, [*ids[part]], with_payload=False)
                }
                operations = [
                    models.SetPayloadOperation(
                        set_payload=models.SetPayload(
                            payload={field: list(archived)}, points=[id], key="archives"
                        )
                    )
                    for id, archived in zip(ids[part], concepts[part], strict=True)
                    if id in indexed
                ]
                if operations:
                    self._client.batch_update_points(name, operations)

    def forget_curation(self, *, encoder: str, tenant: str, dataset: str, curation: str) -> None:
        """Take back what `set_concepts` noted under a curation."""
        name, field = _collection(encoder), _archive_field(curation)
        selected = models.Filter(must=[*_within(tenant, dataset)])
        with self._calling():
            if self._exists(name):
                self._client.delete_payload(name, keys=[f"archives.{field}"], points=selected)

    def count(self, *, encoder: str, tenant: str, dataset: str) -> int:
        """How many samples of the dataset are indexed."""
        name = _collection(encoder)
        selected = models.Filter(must=[*_within(tenant, dataset)])
        with self._calling():
            return int(self._client.count(name, selected).count) if self._exists(name) else 0

    def delete_dataset(self, *, tenant: str, dataset: str) -> None:
        """Forget a dataset in every collection."""
        selected = models.FilterSelector(filter=models.Filter(must=[*_within(tenant, dataset)]))
        with self._calling():
            for collection in self._client.get_collections().collections:
                if collection.name.startswith(_PREFIX):
                    self._client.delete(collection.name, selected)

    def _create(self, name: str, dimensions: int) -> None:
        self._client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=dimensions, distance=models.Distance.COSINE, on_disk=True
            ),
            # Many tenants in one collection: a graph per tenant instead of one over all.
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            ),
        )
        if self._is_local:  # in process there are no payload indexes
            _commit_faster(self._client)
            return
        keyword = models.KeywordIndexType.KEYWORD
        tenant = models.KeywordIndexParams(type=keyword, is_tenant=True)
        self._client.create_payload_index(name, "tenant", tenant)
        for field in ("dataset", "key"):
            self._client.create_payload_index(name, field, models.KeywordIndexParams(type=keyword))

    def _exists(self, name: str) -> bool:
        if name not in self._known and self._client.collection_exists(name):
            self._known.add(name)
        return name in self._known

    @contextmanager
    def _calling(self) -> Iterator[None]:
        with self._lock, _translated("the vector store"):
            yield


_PREFIX = "samples-"


def _collection(encoder: str) -> str:
    if not _NAME.fullmatch(encoder):
        raise ValueError(f"an encoder is named by letters, digits, _ and -, not {encoder[:100]!r}")
    return _PREFIX + encoder


def _archive_field(curation: str | None) -> str:
    if curation is None or not _NAME.fullmatch(curation):
        raise ValueError(f"a curation is named by letters, digits, _ and -, not {curation!r}")
    return curation


def _within(tenant: str, dataset: str) -> list[models.Condition]:
    if not tenant or not dataset:
        raise ValueError("tenant and dataset must be named in every call")
    return [_equals("tenant", tenant), _equals("dataset", dataset)]


def _equals(field: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _ids(tenant: str, dataset: str, keys: Sequence[str]) -> list[str]:
    _within(tenant, dataset)
    # With the lengths, no choice of names makes two samples one.
    start = f"{len(tenant)}/{tenant}/{len(dataset)}/{dataset}/"
    return [str(uuid.uuid5(_NAMESPACE, start + key)) for key in keys]


def _forgo_advice() -> None:
    """Keep the in-process client from warning beyond 20,000 points: it is slow there, not wrong."""
    LocalCollection.LARGE_DATA_THRESHOLD = sys.maxsize
    QdrantLocal.LARGE_DATA_THRESHOLD = sys.maxsize


def _open_folder(folder: Path) -> QdrantClient:
    """Open a folder that one process at a time may use; UnavailableError with advice if another does."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Before anything is loaded; the client, when it is refused, would leave its lock file open.
        with (folder / ".lock").open("a+") as lock:
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            portalocker.unlock(lock)
        client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
    except (portalocker.LockException, RuntimeError) as error:
        raise UnavailableError(
            f"the vectors in {folder} are in use by another process; stop it, choose another folder, or use "
            "the http:// address of a Qdrant server, which serves many processes"
        ) from error
    _commit_faster(client)
    return client


def _commit_faster(client: QdrantClient) -> None:
    """Let the in-process store commit without waiting for the disk: it commits point by point, and is a copy.

    With a write-ahead log, a crash or power cut costs the last commits but leaves the file sound.
    """
    local = client._client
    assert isinstance(local, QdrantLocal)
    for collection in local.collections.values():
        if collection.storage is not None:
            collection.storage.storage.execute("PRAGMA journal_mode=WAL")
            collection.storage.storage.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (ApiException, grpc.RpcError, httpx.HTTPError, sqlite3.Error, OSError) as error:
        said = str(error) or type(error).__name__
        raise UnavailableError(f"{what} does not answer: {said.splitlines()[0]}") from error
