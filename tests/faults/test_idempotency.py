"""The catalog goes away in the middle of requests with an Idempotency-Key: their keys are soon free again."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.local_platform import running
from tests.servers.postgres_server import PostgresServer
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy

from cocu.api import idempotency
from cocu.api.server import LocalServer
from cocu.catalog import datasets

pytestmark = pytest.mark.timeout(180)

ANSWER_SECONDS = 60.0
"""Longer than any request may take on a busy machine."""


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgres.port) as started:
        yield started


@pytest.fixture
def server(
    tmp_path: Path, tiny_encoders: Path, postgres: PostgresServer, proxy: TcpProxy
) -> Iterator[LocalServer]:
    """A platform whose catalog is behind the proxy."""
    url = postgres.database_url(postgres.new_database(), port=proxy.port)
    with running(tmp_path / "data", tiny_encoders, catalog_url=url) as started:
        yield started


def post(server: LocalServer, name: str) -> httpx.Response:
    """Create a dataset, with its name as the idempotency key."""
    url, headers = f"{server.url}/v1/datasets", {"Idempotency-Key": name}
    return httpx.post(url, json={"name": name}, headers=headers, timeout=ANSWER_SECONDS)


def post_until_done(server: LocalServer, name: str) -> httpx.Response:
    """Send the request again while the first one is in progress."""
    while (answer := post(server, name)).status_code == 409:
        assert int(answer.headers["Retry-After"]) > 0
        time.sleep(0.1)
    return answer


def named(server: LocalServer, name: str) -> int:
    listed = httpx.get(f"{server.url}/v1/datasets?limit=1000", timeout=ANSWER_SECONDS).json()["items"]
    return sum(dataset["name"] == name for dataset in listed)


class Away:
    """Cuts and refuses all connections to the database as soon as it sees a certain statement."""

    def __init__(self, proxy: TcpProxy, statement: bytes) -> None:
        self._proxy, self._statement = proxy, statement
        self.begun = False
        proxy.cut_when(self._cuts, forward=False)

    def _cuts(self, data: bytes) -> bool:
        self.begun = self._proxy.refusing = self.begun or self._statement in data
        return self.begun

    def end(self) -> None:
        self._proxy.cut_when(None, forward=False)
        self._proxy.refusing = False


@pytest.mark.slow
def test_catalog_away_before_it_is_done__the_key_is_free_once_it_is_back(
    server: LocalServer, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The claim would not end within this test: only what lets go of it frees the key.
    monkeypatch.setattr(idempotency, "CLAIM_SECONDS", 600.0)
    name = secrets.token_hex(8)
    away = Away(proxy, b"INSERT INTO datasets")
    refused = post(server, name)
    away.end()
    assert away.begun
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (503, True)

    done = post_until_done(server, name)
    assert done.status_code == 201
    assert post(server, name).content == done.content
    assert named(server, name) == 1


@pytest.mark.slow
def test_catalog_away_once_it_is_done__the_answer_is_given_and_kept_when_it_is_back(
    server: LocalServer, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "CLAIM_SECONDS", 600.0)
    name = secrets.token_hex(8)
    away = Away(proxy, b"UPDATE idempotency_keys SET status")
    done = post(server, name)
    away.end()
    assert away.begun
    assert done.status_code == 201

    # Not 409 because there is such a dataset already: it is not carried out again.
    assert post_until_done(server, name).content == done.content
    assert named(server, name) == 1


@pytest.mark.slow
def test_request_that_takes_longer_than_a_claim__is_carried_out_once(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "CLAIM_SECONDS", 1.5)
    name, began, ended = secrets.token_hex(8), threading.Event(), threading.Event()
    create, created = datasets.create, []

    def slow(*arguments: Any, **options: Any) -> Any:
        began.set()
        assert ended.wait(ANSWER_SECONDS)
        created.append(name)
        return create(*arguments, **options)

    monkeypatch.setattr(datasets, "create", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, server, name)
        assert began.wait(ANSWER_SECONDS)
        answers = []
        for _ in range(5):
            time.sleep(0.8)
            answers.append(post(server, name).status_code)
        ended.set()
        assert first.result().status_code == 201

    assert answers == [409] * 5
    assert post(server, name).content == first.result().content
    assert created == [name]
