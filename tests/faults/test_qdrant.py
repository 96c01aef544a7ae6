"""The vector store is away, slow, silent or empty: runs end the same, searches say so, a rebuild restores."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faults.distributed import PATIENCE, REPOSITORY, Distributed, begin, outcome, upload, watched
from tests.faults.fault_counts import cases
from tests.pipeline.indexed_archives import assert_indexed
from tests.servers.qdrant_server import QdrantServer, qdrant_server
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy

from cocu.catalog import curations, vector_state
from cocu.platform import Platform
from cocu.settings import Settings

REQUEST_SECONDS = 20.0
"""Longer than any request may take on a busy machine; a request that takes longer hangs."""
SAMPLES = 150

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    """A stand-in for Qdrant; see its module for what it is not."""
    with qdrant_server(tmp_path_factory.mktemp("qdrant") / "points") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(qdrant: QdrantServer) -> Iterator[TcpProxy]:
    with tcp_proxy(qdrant.port) as between:
        yield between


@pytest.fixture(scope="module")
def serving(
    qdrant: QdrantServer, proxy: TcpProxy, tiny_encoders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Distributed]:
    """The API with its workers in one process, and the vector store behind a proxy."""
    settings = {
        "broker_url": "memory://",
        "encoders_url": tiny_encoders,
        "vectors_url": f"http://127.0.0.1:{proxy.port}",
        "vectors_grpc": False,
        "vectors_seconds": 1.0,
        "vectors_bulk_seconds": 2.0,
    }
    with Distributed(tmp_path_factory.mktemp("serving"), **settings) as platform:
        platform.start_api()
        yield platform


@pytest.fixture
def platform(serving: Distributed, qdrant: QdrantServer, proxy: TcpProxy) -> Iterator[Distributed]:
    """The same platform; the vector store is restored at the end."""
    try:
        yield serving
    finally:
        proxy.delay_seconds, proxy.silent, proxy.refusing = 0.0, False, False
        qdrant.start()


def search(platform: Distributed, dataset: str, sample: str = "00003") -> httpx.Response:
    """Search for the samples nearest to one; fail if the request hangs."""
    request = {"dataset": dataset, "sample": sample, "limit": 200}
    with watched(REQUEST_SECONDS):
        return httpx.post(f"{platform.url}/v1/search", json=request, timeout=REQUEST_SECONDS)


def hits(platform: Distributed, dataset: str) -> list[tuple[str, float]]:
    response = search(platform, dataset)
    assert response.status_code == 200, response.text
    return [(hit["key"], round(hit["similarity"], 3)) for hit in response.json()["items"]]


def wait_for_hits(platform: Distributed, dataset: str, count: int) -> list[tuple[str, float]]:
    """Wait until a search finds this number of samples; return the hits."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if search(platform, dataset).status_code == 200 and len(current := hits(platform, dataset)) == count:
            return current
        time.sleep(0.2)
    raise AssertionError(f"searches do not find {count} samples: {search(platform, dataset).text}")


def has_concepts(platform: Distributed, curation: str) -> bool:
    return vector_state.has_concepts(platform.catalog(), curation_id=curation)


def assert_unavailable(answer: httpx.Response, saying: str) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert saying in answer.json()["detail"]


def wait_for_concepts(platform: Distributed, curation: str) -> None:
    """Waits until the store has all archives, and compares them with the files."""
    end = time.monotonic() + PATIENCE
    while not has_concepts(platform, curation):
        assert time.monotonic() < end, "the archives are not in the vector store"
        time.sleep(0.1)
    with Platform.open(Settings(**platform.settings)) as opened:
        assert_indexed(opened, curations.of_task(opened.catalog, curation_id=curation))


def rebuild(platform: Distributed, *options: str) -> dict[str, Any]:
    """`cocu index rebuild` as an operator runs it, beside the platform."""
    ended = subprocess.run(
        [sys.executable, "-m", "cocu", "index", "rebuild", "--json", *options],
        env=platform.environment(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("away", "moment"),
    cases(
        ("killed", "during"),
        ("silent", "before"),
        ("killed", "before"),
        ("silent", "during"),
        ("slow", "before"),
        ("slow", "during"),
        short=2,
    ),
)
def test_a_curation_ends_the_same_and_is_indexed_when_the_store_is_back(
    platform: Distributed,
    qdrant: QdrantServer,
    proxy: TcpProxy,
    expected: dict[str, Any],
    tmp_path: Path,
    away: str,
    moment: str,
) -> None:
    def go() -> None:
        if away == "killed":
            qdrant.kill()
        proxy.silent = away == "silent"
        proxy.delay_seconds = 10.0 if away == "slow" else 0.0

    with platform.client() as client:
        dataset = upload(client, tmp_path)
        if moment == "before":
            go()
        curation = begin(client, tmp_path, dataset)
        if moment == "during":
            platform.busy(dataset)
            go()
        assert outcome(client, curation) == expected
        if moment == "before":
            assert_unavailable(search(platform, dataset), "waits to be indexed")
            assert httpx.get(f"{platform.url}/readyz").json()["parts"]["vectors"] == "unavailable"
        proxy.silent, proxy.delay_seconds = False, 0.0
        qdrant.start()
        indexed_hits = wait_for_hits(platform, dataset, SAMPLES - 1)
        assert httpx.get(f"{platform.url}/readyz").json()["parts"]["vectors"] == "ok"
    before = dict(indexed_hits)
    rebuild(platform, dataset)
    assert dict(hits(platform, dataset)) == pytest.approx(before, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("away", cases("killed", "silent", "killed while written to"))
def test_archives_are_put_there_when_the_store_is_back(
    platform: Distributed, qdrant: QdrantServer, proxy: TcpProxy, tmp_path: Path, away: str
) -> None:
    with platform.client() as client:
        dataset = upload(client, tmp_path)
        curation = begin(client, tmp_path, dataset)
        if away != "killed while written to":
            outcome(client, curation)
        for _ in range(1 if away != "killed while written to" else 5):
            if away == "silent":
                proxy.silent = True
            else:
                qdrant.kill()
            time.sleep(2.0)
            proxy.silent = False
            qdrant.start()
        outcome(client, curation)
    wait_for_concepts(platform, curation)
    rebuild(platform)
    wait_for_concepts(platform, curation)


@pytest.fixture
def indexed(platform: Distributed, tmp_path: Path) -> str:
    """A dataset that searches find all of, and that nobody is about to put there again."""
    with platform.client() as client:
        dataset = upload(client, tmp_path)
        curation = begin(client, tmp_path, dataset)
        outcome(client, curation)
    wait_for_concepts(platform, curation)
    wait_for_hits(platform, dataset, SAMPLES - 1)
    return dataset


@pytest.mark.slow
@pytest.mark.parametrize("away", cases("silent", "killed", "slow"))
def test_searches_are_answered_in_time_while_the_store_is_away(
    platform: Distributed, qdrant: QdrantServer, proxy: TcpProxy, indexed: str, away: str
) -> None:
    before = hits(platform, indexed)
    if away == "killed":
        qdrant.kill()
    proxy.silent = away == "silent"
    proxy.delay_seconds = 10.0 if away == "slow" else 0.0
    with ThreadPoolExecutor(8) as pool:
        # So small a dataset is searched in the files meanwhile.
        for found in pool.map(lambda _: hits(platform, indexed), range(8)):
            assert found == before
    with watched(REQUEST_SECONDS):
        assert httpx.get(f"{platform.url}/v1/datasets", timeout=REQUEST_SECONDS).status_code == 200
        assert httpx.get(f"{platform.url}/readyz", timeout=REQUEST_SECONDS).status_code == 200
    proxy.silent, proxy.delay_seconds = False, 0.0
    qdrant.start()
    assert wait_for_hits(platform, indexed, len(before)) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "whole"),
    cases(("its collection", False), ("everything", True), ("its collection", True), ("everything", False)),
)
def test_what_the_store_has_lost_is_found_in_the_files_until_a_rebuild_restores_it(
    platform: Distributed, qdrant: QdrantServer, indexed: str, lost: str, whole: bool
) -> None:
    before = hits(platform, indexed)
    if lost == "everything":
        qdrant.lose_everything()
    else:
        client = qdrant.client()
        for collection in client.get_collections().collections:
            client.delete_collection(collection.name)
        client.close()
    time.sleep(5.0)  # for so long it is believed that nothing was lost
    assert hits(platform, indexed) == before
    for _ in range(2):
        (told,) = rebuild(platform, *([] if whole else [indexed]))["encoders"]
        assert told["failed"] == {}
        assert told["samples"] == SAMPLES if not whole else told["samples"] >= SAMPLES
        assert hits(platform, indexed) == before


def test_searches_find_everything_while_the_store_is_rebuilt(platform: Distributed, indexed: str) -> None:
    before = hits(platform, indexed)
    ended, searches = threading.Event(), []

    def look() -> None:
        while not ended.is_set():
            searches.append(hits(platform, indexed))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        rebuild(platform)
        ended.set()
        looking.result()
    assert searches
    assert all(result == before for result in searches)
