"""Servers that die and readers that are slow."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.local_platform import picture, running, tar_of
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.application import create_app
from cocu.api.server import LocalServer
from cocu.client import BatchRequest, CocuClient
from cocu.storage.objects import ObjectStore
from cocu.storage.ranges import RangeReads

SAMPLES = 48
SIDE = 512
REQUEST = BatchRequest(global_batch=4, seed=1)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Data folder, encoder and curation of samples that do not fit into the buffers of a connection."""
    folder = tmp_path_factory.mktemp("large")
    encoder = write_tiny_encoder(folder / "encoder")
    members = {}
    for number in range(SAMPLES):
        members[f"{number:02d}.png"] = picture(number, side=SIDE, format="PNG")
        members[f"{number:02d}.txt"] = b"a dog and a cat"
    file = folder / "samples.tar"
    file.write_bytes(tar_of(members))
    with running(folder / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("large")
        client.datasets.upload(dataset.id, file)
        client.datasets.wait(dataset.id, timeout=60)
        curation = client.curations.wait(client.curations.create(dataset.id).id, timeout=120)
    return folder / "data", encoder, curation.id


@contextmanager
def served(data: Path, encoder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "cocu", "serve", "--data", data, "--encoder", encoder, "--port", port]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "cocu on" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_server_killed_in_mid_epoch__neither_doubles_nor_loses_a_sample(
    large: tuple[Path, Path, str], kind: signal.Signals
) -> None:
    data, encoder, curation = large
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with CocuClient(f"http://127.0.0.1:{port}", timeout=20) as client:
        with served(data, encoder, port) as process:
            expected = [batch.keys for batch in client.batches.stream(curation, REQUEST)]
            batches = client.batches.stream(curation, REQUEST, prefetch=1, reconnects=30)
            received = [next(batches).keys for _ in range(3)]
            os.kill(process.pid, kind)
            process.wait(timeout=30)
        later: list[list[str]] = []
        rest = threading.Thread(target=lambda: later.extend(batch.keys for batch in batches))
        rest.start()
        time.sleep(0.5)
        assert rest.is_alive(), "what had arrived before the server died is not the whole epoch"
        with served(data, encoder, port):
            rest.join(timeout=60)
    assert received + later == expected


class CountingObjects:
    """Counts the batches whose images are read."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def read_all_into(self, reads: Sequence[RangeReads]) -> None:
        self.reads += 1
        self._objects.read_all_into(reads)


@pytest.fixture
def counted(
    large: tuple[Path, Path, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[LocalServer, str, CountingObjects]]:
    data, encoder, curation = large
    with running(data, encoder) as server:
        objects = CountingObjects(server.platform.objects)
        monkeypatch.setattr(server.platform, "objects", objects)
        yield server, f"{server.url}/v1/curations/{curation}/batches", objects


@pytest.mark.parametrize("form", ["arrow", "protobuf", "tar"])
def test_slow_reader__holds_no_more_than_two_batches(
    counted: tuple[LocalServer, str, CountingObjects], form: str
) -> None:
    """The application without a server, and a client that takes one chunk and then no more."""
    server, url, objects = counted
    chunk_taken, left = 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal chunk_taken
        if message["type"] == "http.response.body":
            chunk_taken += 1
            await left.wait()

    async def stalled() -> None:
        answer = asyncio.create_task(create_app(server.platform)(scope, receive, send))
        while not chunk_taken:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        answer.cancel()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": urlsplit(url).path,
        "query_string": f"format={form}&global_batch=4".encode(),
        "headers": [(b"host", b"localhost")],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(stalled())
    assert chunk_taken == 1
    assert 1 <= objects.reads <= 2


def test_reader_that_leaves__ends_the_work(counted: tuple[LocalServer, str, CountingObjects]) -> None:
    _, url, objects = counted
    with httpx.stream("GET", url, params={"global_batch": "1"}) as answer:
        next(answer.iter_raw(1000))
    time.sleep(0.3)
    seen = objects.reads
    time.sleep(0.3)
    assert objects.reads == seen < SAMPLES


def _answers(url: str) -> Iterator[str]:
    """How streams in other orders end: if their first sample is intact, they fail after they have started."""
    for seed in range(20):
        try:
            httpx.get(url, timeout=60, params={"global_batch": 1, "seed": seed})
            yield "refused"
        except httpx.RemoteProtocolError:
            yield "broke off"


def test_damaged_shard__is_a_problem_before_the_stream_and_an_abort_within(
    counted: tuple[LocalServer, str, CountingObjects],
) -> None:
    server, url, _ = counted
    path = next(path for path in server.platform.objects.list() if path.endswith(".tar"))
    whole = server.platform.objects.get(path)
    try:
        server.platform.objects.put(path, whole[: len(whole) // 2])
        answer = httpx.get(url, timeout=60, params={"global_batch": SAMPLES})
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(_answers(url)) == {"refused", "broke off"}
    finally:
        server.platform.objects.put(path, whole)
