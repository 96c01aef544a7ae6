"""Putting vectors into the store: points a second, beside what qdrant-client offers for it.

Three stores: a folder (local mode), the tests' stand-in for a server (our HTTP requests in front of local
mode; it is NOT Qdrant, and parses JSON in Python, so its points a second say nothing of a server), and a real
server where COCU_TEST_QDRANT_URL names one, by REST and by gRPC. The alternatives: `upload_points` with its
defaults, and a request for every point. What the stand-in can show is the processor time that a point costs
the sender, which is what usually limits an upload; that ratio is reported where there is no real server.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from qdrant_client import QdrantClient, models
from tests.servers.qdrant_server import qdrant_server

from benchmarks.report import report
from cocu.storage.vectors import VectorOptions, Vectors
from cocu.storage.vectors.connection import commit_faster

POINTS = 4_096
ONE_BY_ONE = 256
DIMENSIONS = 512
ROUNDS = 3


class Store(NamedTuple):
    """A store by our class and by the client itself."""

    name: str
    ours: Vectors
    client: QdrantClient
    is_server: bool


class Rates(NamedTuple):
    """Points a second of wall-clock time, and of this process's processor time."""

    wall: float
    processor: float


def main() -> None:
    """Print rates, and as the last line the ratio to `upload_points`."""
    ratio, store = 0.0, None
    with stores() as there:
        for store in there:
            rates = measured(store)
            for name, rate in rates.items():
                print(
                    f"{store.name}: {name}: {rate.wall:,.0f} points/s, "
                    f"{rate.processor:,.0f} for each second of the sender's processor"
                )
            which = "wall" if store.is_server else "processor"
            ratio = getattr(rates["upsert_samples"], which) / getattr(rates["upload_points"], which)
    what = "points/s" if store is not None and store.is_server else "the sender's processor, no real server"
    name = f"upserts of {DIMENSIONS} numbers ({'' if store is None else store.name}; {what})"
    report(name, ratio, "x upload_points with its defaults", ">= 1", ratio >= 1)


@contextmanager
def stores() -> Iterator[list[Store]]:
    """What there is to measure, the most telling last."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = Vectors.open(str(folder / "vectors"))
        stack.callback(local.close)
        found = [Store("folder", local, local._connection.client, is_server=False)]
        url = os.environ.get("COCU_TEST_QDRANT_URL")
        if url is None:
            server = stack.enter_context(qdrant_server(folder / "stand-in"))
            found.append(_remote("stand-in", server.url, grpc=False, is_server=False))
        else:
            found += [_remote(name, url, grpc=name == "gRPC", is_server=True) for name in ("REST", "gRPC")]
        for each in found[1:]:
            stack.callback(each.ours.close)
            stack.callback(each.client.close)
        yield found


def _remote(name: str, url: str, *, grpc: bool, is_server: bool) -> Store:
    key = os.environ.get("COCU_TEST_QDRANT_API_KEY")
    ours = Vectors.open(
        url, options=VectorOptions(prefer_grpc=grpc, api_key=key, seconds=60, bulk_seconds=60)
    )
    headers = {"api-key": key} if key else None
    client = QdrantClient(url=url, prefer_grpc=grpc, headers=headers, timeout=60, check_compatibility=False)
    return Store(name, ours, client, is_server)


def measured(store: Store) -> dict[str, Rates]:
    """The median rates of each way of putting points into a store."""
    encoder = f"benchmark-{uuid.uuid4().hex}"
    store.ours.ensure_collection(encoder=encoder, dimensions=DIMENSIONS)
    collection = store.ours._collections.names(encoder)[0]
    if store.client is store.ours._connection.client:
        commit_faster(store.client)
    embeddings_ND = np.random.default_rng(0).normal(size=(POINTS, DIMENSIONS)).astype(np.float16)
    keys = [f"image-{row:08d}" for row in range(POINTS)]

    def points(count: int) -> Iterator[models.PointStruct]:
        for row in range(count):
            payload = {"tenant": "default", "dataset": "benchmark", "key": keys[row], "row": row}
            vector = embeddings_ND[row].astype(np.float32).tolist()
            yield models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, keys[row])), vector=vector, payload=payload
            )

    def upsert_samples() -> None:
        store.ours.upsert_samples(
            encoder=encoder,
            tenant="default",
            dataset="benchmark",
            keys=keys,
            first_row=0,
            embeddings_ND=embeddings_ND,
        )

    def one_by_one() -> None:
        for point in points(ONE_BY_ONE):
            store.client.upsert(collection, [point], wait=True)

    ways: dict[str, tuple[Callable[[], None], int]] = {
        "upsert_samples": (upsert_samples, POINTS),
        # Waited for, as ours: what is not yet there cannot be searched.
        "upload_points": (lambda: store.client.upload_points(collection, points(POINTS), wait=True), POINTS),
        "a request for each": (one_by_one, ONE_BY_ONE),
    }
    rates = {name: _rates(run, count) for name, (run, count) in ways.items()}
    store.ours._collections.delete(collection)
    return rates


def _rates(run: Callable[[], None], count: int) -> Rates:
    run()
    wall, processor = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    return Rates(count / statistics.median(wall), count / statistics.median(processor))


if __name__ == "__main__":
    main()
