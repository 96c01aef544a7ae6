"""The vector store in a folder: searches, filters, facets, upserts, opening, memory and disk.

    python -m benchmarks.vectors [SAMPLES …]

At 20,000 samples (512-d, 12 archived concepts each) beside the local mode of qdrant-client, which the store
was before, in the same run; at 100,000 alone. Reported are ratios to the local mode. Times of their own and
the bounds on them are printed, and mean something on an idle machine only.

The limits: without a graph a search reads every vector once (100 MB of halves at 100,000 × 512: about 10 ms
of one core's memory bandwidth); with one it is bound by some hundred comparisons, and by the socket.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.local.local_collection import LocalCollection
from qdrant_client.local.qdrant_local import QdrantLocal

from benchmarks.report import report
from cocu.vectors import ArchivedConcept, Archives, Vectors
from cocu.vectors.edge import EdgeStore

SIZES = (20_000, 100_000)
BESIDE_LOCAL_MODE = 20_000
DIMENSIONS = 512
CONCEPTS = 2_000
ARCHIVED = 12
CURATION = "0123456789abcdef"
QUERIES = 200
LOCAL_QUERIES = 5
TASK = 2_048
"""Samples that one call puts into the store, as `index` does."""
SHARD: dict[str, Any] = {"encoder": "benchmark", "tenant": "default", "dataset": "benchmark"}
FILTERS: dict[str, list[int]] = {
    "no filter": [],
    "a common concept": [0],
    "a rare concept": [CONCEPTS - 1],
    "two concepts": [0, 1],
}


class Samples:
    """Embeddings in clusters, as photographs are, and archives in which some concepts are common."""

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(0)
        centres = random.normal(size=(500, DIMENSIONS)).astype(np.float32)
        vectors = centres[random.integers(0, 500, count)]
        vectors += random.normal(size=(count, DIMENSIONS)).astype(np.float32)
        self.embeddings_ND = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        weights = 1 / np.arange(1, CONCEPTS + 1)
        # The largest keys of a weighted draw without repetition (Efraimidis and Spirakis, 2006).
        self.concepts_NC = np.empty((count, ARCHIVED), np.int64)
        for start in range(0, count, 5_000):
            part = slice(start, min(start + 5_000, count))
            keys = np.log(random.random((part.stop - start, CONCEPTS))) / weights
            self.concepts_NC[part] = np.argpartition(-keys, ARCHIVED, axis=1)[:, :ARCHIVED]
        self.scores_NC = random.uniform(-4, 3, (count, ARCHIVED))
        self.added_NC = random.random((count, ARCHIVED)) < 0.8
        near = random.integers(0, count, QUERIES)
        noise = random.normal(size=(QUERIES, DIMENSIONS)).astype(np.float32)
        self.queries_QD = self.embeddings_ND[near].astype(np.float32) + 0.01 * noise

    def put(self, upsert: Callable[..., None], count: int) -> None:
        """Put the first samples into a store, a task at a time."""
        for start in range(0, count, TASK):
            part = slice(start, min(start + TASK, count))
            size = part.stop - start
            archives = Archives(
                CURATION,
                np.arange(size + 1) * ARCHIVED,
                self.concepts_NC[part].ravel(),
                self.scores_NC[part].ravel(),
                self.added_NC[part].ravel(),
            )
            upsert(
                keys=[f"image-{row:08d}" for row in range(start, part.stop)],
                first_row=start,
                embeddings_ND=self.embeddings_ND[part],
                archives=[archives],
            )

    def rows_with(self, concepts: list[int]) -> NDArray[np.bool_]:
        """Which samples have all of these concepts."""
        return np.all([(self.concepts_NC == concept).any(axis=1) for concept in concepts] or [True], axis=0)

    def nearest(self, query_D: NDArray[np.float32], concepts: list[int], limit: int) -> set[int]:
        """The rows that a comparison with all embeddings finds."""
        similarities = self.embeddings_ND.astype(np.float32) @ query_D
        allowed_N = np.broadcast_to(self.rows_with(concepts), similarities.shape)
        similarities[~allowed_N] = -2
        limit = min(limit, int(allowed_N.sum()))
        return set(np.argsort(-similarities, kind="stable")[:limit].tolist())


def main() -> None:
    """Measure each size; the ratios to the local mode are reported."""
    LocalCollection.LARGE_DATA_THRESHOLD = QdrantLocal.LARGE_DATA_THRESHOLD = sys.maxsize
    for count in [int(size) for size in sys.argv[1:]] or SIZES:
        samples = Samples(count)
        figures = of_folder(samples, count)
        if count == BESIDE_LOCAL_MODE:
            compare(figures, of_local_mode(samples, count))


def of_folder(samples: Samples, count: int) -> dict[str, float]:
    """Figures of the store, without and with a graph; printed with the bounds on them."""
    figures: dict[str, float] = {}
    with temporary_folder() as folder:
        vectors = Vectors.open(str(folder))
        vectors.ensure_collection(encoder=SHARD["encoder"], dimensions=DIMENSIONS)

        def upsert(**arguments: Any) -> None:
            vectors.upsert_samples(**SHARD, **arguments)

        began = time.perf_counter()
        samples.put(upsert, count)
        figures["upserts/s"] = count / (time.perf_counter() - began)
        for graph in (False, True):
            if graph:
                figures["graph, s"] = _wait_for_graph(vectors)
            figures |= _searches(samples, vectors, count, "with a graph" if graph else "without a graph")
        figures["memory, MiB"] = _memory(vectors)
        vectors.close()
        figures["disk, MiB"] = _size(folder)
        began = time.perf_counter()
        vectors = Vectors.open(str(folder))
        vectors.search(**SHARD, vector_D=samples.queries_QD[0])
        figures["opening and the first search, s"] = time.perf_counter() - began
        vectors.close()
    print(f"\nQdrant Edge in a folder, {count:,} samples")
    for name, value in figures.items():
        print(f"  {name:<58}{value:12.3f}")
    return figures


def _searches(samples: Samples, vectors: Vectors, count: int, state: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, concepts in FILTERS.items():
        archived = [ArchivedConcept(CURATION, concept) for concept in concepts]
        seconds, recalls = [], []
        for number, query_D in enumerate(samples.queries_QD):
            began = time.perf_counter()
            hits = vectors.search(**SHARD, vector_D=query_D, concepts=archived)
            seconds.append(time.perf_counter() - began)
            if number < 20:
                exact = samples.nearest(query_D, concepts, 20)
                recalls.append(len(exact & {hit.row for hit in hits}) / max(1, len(exact)))
        figures[f"{name}, {state}: p50, ms"] = 1e3 * float(np.median(seconds))
        figures[f"{name}, {state}: p99, ms"] = 1e3 * float(np.quantile(seconds, 0.99))
        figures[f"{name}, {state}: recall@20"] = float(np.mean(recalls))
    for name, concepts in FILTERS.items():
        archived = [ArchivedConcept(CURATION, concept) for concept in concepts]
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            vectors.facets(**SHARD, curation=CURATION, concepts=archived)
            seconds.append(time.perf_counter() - began)
        figures[f"facets, {name}, {state}: p50, ms"] = 1e3 * float(np.median(seconds))
    return figures


def of_local_mode(samples: Samples, count: int) -> dict[str, float]:
    """The same of qdrant-client's local mode, whose payloads hold the same words."""
    figures: dict[str, float] = {}
    with temporary_folder() as folder:
        client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        client.create_collection(
            "benchmark", vectors_config=models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        )
        _commit_faster(client)
        before = _resident(os.getpid())
        began = time.perf_counter()
        for start in range(0, count, 256):
            part = range(start, min(start + 256, count))
            points = [
                models.PointStruct(
                    id=str(uuid.UUID(int=row)),
                    vector=samples.embeddings_ND[row].astype(np.float32).tolist(),
                    payload={
                        "tenant": "default",
                        "dataset": "benchmark",
                        "key": f"image-{row:08d}",
                        "row": row,
                        "concepts": [f"{CURATION}/{concept}" for concept in samples.concepts_NC[row]],
                    },
                )
                for row in part
            ]
            client.upsert("benchmark", points)
        figures["upserts/s"] = count / (time.perf_counter() - began)
        for name, concepts in FILTERS.items():
            conditions = [("tenant", "default"), ("dataset", "benchmark")]
            conditions += [("concepts", f"{CURATION}/{concept}") for concept in concepts]
            within = models.Filter(
                must=[
                    models.FieldCondition(key=key, match=models.MatchValue(value=value))
                    for key, value in conditions
                ]
            )
            seconds = []
            for query_D in samples.queries_QD[:LOCAL_QUERIES]:
                began = time.perf_counter()
                client.query_points("benchmark", query=query_D.tolist(), query_filter=within, limit=20)
                seconds.append(time.perf_counter() - began)
            figures[f"{name}: p50, ms"] = 1e3 * float(np.median(seconds))
        figures["memory, MiB"] = _resident(os.getpid()) - before
        client.close()
        figures["disk, MiB"] = _size(folder)
    print(f"\nqdrant-client's local mode in a folder, {count:,} samples")
    for name, value in figures.items():
        print(f"  {name:<58}{value:12.3f}")
    return figures


def compare(edge: dict[str, float], local: dict[str, float]) -> None:
    """Report the ratios, the weakest search last."""
    what = f"{BESIDE_LOCAL_MODE:,} samples in a folder"
    upserts = edge["upserts/s"] / local["upserts/s"]
    report(f"vector store, {what}: upserts", upserts, "x the local mode", ">= 2", upserts >= 2)
    for name in ("memory, MiB", "disk, MiB"):
        ratio = edge[name] / local[name]
        report(f"vector store, {what}: {name.split(',')[0]}", ratio, "x the local mode", "< 1", ratio < 1)
    searches = {
        name: local[f"{name}: p50, ms"] / edge[f"{name}, {state}: p50, ms"]
        for name in FILTERS
        for state in ("with a graph", "without a graph")
    }
    ratio = min(searches.values())
    report(f"vector store, {what}: the slowest search", ratio, "x the local mode", ">= 20", ratio >= 20)


def _wait_for_graph(vectors: Vectors) -> float:
    """Seconds until the graph is in use; none is built of few samples."""
    backend = vectors._backend
    assert isinstance(backend, EdgeStore)
    began = time.perf_counter()
    while not backend.has_graphs():
        time.sleep(0.2)
    return time.perf_counter() - began


def _memory(vectors: Vectors) -> float:
    backend = vectors._backend
    assert isinstance(backend, EdgeStore)
    assert backend._process is not None
    return _resident(backend._process.pid)


def _resident(process: int) -> float:
    """Resident memory, in MiB, without pages of files that the system may take back."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no RssAnon in /proc")


def _size(folder: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) / 2**20


def _commit_faster(client: QdrantClient) -> None:
    """As the platform let it commit: without waiting for the disk."""
    local = client._client
    assert isinstance(local, QdrantLocal)
    for collection in local.collections.values():
        assert collection.storage is not None
        collection.storage.storage.execute("PRAGMA journal_mode=WAL")
        collection.storage.storage.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for a store, deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cocu-benchmark-"))
    try:
        yield folder / "vectors"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
