"""A whole curation while PostgreSQL restarts or drops connections: the same content as without."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faults.distributed import Distributed, begin, outcome, upload
from tests.faults.fault_counts import DISTURBANCES
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.timeout(300)

LONGEST_ANSWER = 30.0
"""No request takes longer: the timeout of five seconds, and time for a busy machine."""


@pytest.fixture(scope="module")
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgres.port) as started:
        yield started


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    proxy: TcpProxy,
    redis: RedisServer,
    tiny_encoders: Path,
) -> Iterator[Distributed]:
    """API, sweeper and a worker of two processes, whose catalog is behind the proxy."""
    url = postgres.database_url(postgres.new_database(), port=proxy.port)
    options = {
        "broker_url": redis.url,
        "encoders_url": tiny_encoders,
        "catalog_url": url,
        "lease_seconds": 20.0,
    }
    with Distributed(tmp_path_factory.mktemp("many"), **options) as started:
        started.start_api()
        started.start_sweeper()
        started.start_worker(processes=2)
        yield started


@pytest.fixture
def platform(serving: Distributed, postgres: PostgresServer, proxy: TcpProxy) -> Iterator[Distributed]:
    """The same platform; parts that a test starts are stopped, and the database is restored."""
    url = serving.url
    try:
        with serving.undone():
            yield serving
    finally:
        serving.url = url
        proxy.cut_when(None, forward=False)
        postgres.start()


class Asking:
    """Sends requests to the API all the time, and records statuses and times."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.statuses: Counter[int] = Counter()
        self.longest = 0.0
        self.without_advice = 0

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=2 * LONGEST_ANSWER) as client:
            while not self._ended.wait(0.05):
                began = time.monotonic()
                answer = client.get("/v1/datasets")
                self.longest = max(self.longest, time.monotonic() - began)
                self.statuses[answer.status_code] += 1
                self.without_advice += answer.status_code == 503 and "Retry-After" not in answer.headers


@pytest.mark.slow
def test_restarts_in_mid_curation__change_nothing(
    platform: Distributed, postgres: PostgresServer, expected: dict[str, Any]
) -> None:
    with platform.client() as client, Asking(platform.url) as asking:
        curation = begin(client, platform.folder, upload(client, platform.folder))
        for _ in range(DISTURBANCES):
            time.sleep(0.5)
            postgres.restart(down_seconds=0.5)
        actual = outcome(client, curation)

    assert actual == expected
    assert set(asking.statuses) <= {200, 503}
    assert asking.statuses[200] > 0
    assert asking.without_advice == 0
    assert asking.longest < LONGEST_ANSWER
    assert all(part.alive for part in platform.parts)


@pytest.mark.slow
def test_connections_dropped_in_commit__change_nothing(
    platform: Distributed, proxy: TcpProxy, expected: dict[str, Any]
) -> None:
    count = 0

    def watch(data: bytes) -> bool:
        nonlocal count
        count += b"COMMIT" in data
        # Now before the server has it, now after.
        proxy._forward = count % 8 == 0
        return b"COMMIT" in data and count % 4 == 0

    with platform.client() as client:
        proxy.cut_when(watch, forward=False)
        curation = begin(client, platform.folder, dataset := upload(client, platform.folder))
        actual = outcome(client, curation)
        proxy.cut_when(None, forward=False)

    assert actual == expected
    assert proxy.cuts > 20
    tasks = platform.tasks(dataset)
    assert {task.state for task in tasks} == {"done"}
    assert {task.failures for task in tasks} == {0}


@pytest.mark.slow
def test_away_for_long__is_answered_503_and_the_run_goes_on_afterwards(
    platform: Distributed, postgres: PostgresServer, expected: dict[str, Any]
) -> None:
    with platform.client() as client:
        curation = begin(client, platform.folder, upload(client, platform.folder))
        postgres.kill()
        began = time.monotonic()
        answers = [
            httpx.get(f"{platform.url}{path}", timeout=2 * LONGEST_ANSWER)
            for path in ("/v1/datasets", f"/v1/curations/{curation}", "/readyz")
        ]
        took = time.monotonic() - began
        postgres.start()
        actual = outcome(client, curation)

    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert all("127.0.0.1" not in answer.text and "psycopg" not in answer.text for answer in answers)
    assert took < 3 * LONGEST_ANSWER
    assert actual == expected


@pytest.mark.slow
@pytest.mark.parametrize("creates", ["dataset", "curation"])
def test_two_replicas_with_the_same_idempotency_key_at_once__make_one(
    platform: Distributed, creates: str
) -> None:
    first = platform.url
    platform.start_api()
    replicas = (first, platform.url)
    assert replicas[0] != replicas[1]
    with platform.client() as client:
        dataset = upload(client, platform.folder)
    barrier = threading.Barrier(8)
    path, body = {
        "dataset": ("/v1/datasets", {"name": "the same"}),
        "curation": (f"/v1/datasets/{dataset}/curations", {"parameters": {"neighbours": 4}}),
    }[creates]

    def ask(number: int) -> httpx.Response:
        barrier.wait()
        headers = {"Idempotency-Key": f"the-same-{creates}"}
        while True:
            answer = httpx.post(
                replicas[number % 2] + path, json=body, headers=headers, timeout=2 * LONGEST_ANSWER
            )
            if answer.status_code != 409:
                return answer
            # Another carries it out; that there is one of this name already would not pass with time.
            assert int(answer.headers["Retry-After"]) > 0
            time.sleep(0.1)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))

    assert {answer.status_code for answer in answers} == {201 if creates == "dataset" else 202}
    assert len({answer.content for answer in answers}) == 1
    with platform.client() as client:
        if creates == "dataset":
            assert [dataset.name for dataset in client.datasets.list()].count("the same") == 1
        else:
            assert client.curations.wait(answers[0].json()["id"], timeout=60).state == "completed"
            assert [curation.dataset for curation in client.curations.list()].count(dataset) == 1
            assert {task.attempts for task in platform.tasks(dataset)} == {1}
