"""A real `cocu serve` with 256 descriptors under the heaviest loads that clients can cause.

Health is told within a second throughout, the process stays alive below 2 GB, and its log stays small.
COCU_HEAVY, as in `make faults`, makes the loads as large as the limits allow.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.local_platform import tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

HEAVY = bool(os.environ.get("COCU_HEAVY"))
DESCRIPTORS = 256
BUSY_SECONDS = 0.05
"""A machine that takes longer to tell its health without any load is busy with other things."""
JSON = {"Content-Type": "application/json"}


class Served:
    """A platform in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        encoder = write_tiny_encoder(folder / "encoder")
        self.process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'ulimit -n {DESCRIPTORS} && exec "$0" "$@"',
                sys.executable,
                "-m",
                "cocu",
                "serve",
                "--data",
                str(self.data),
                "--encoder",
                str(encoder),
                "--port",
                str(self.port),
            ],
            stdout=subprocess.DEVNULL,
        )

    def peak(self) -> int:
        """The largest resident memory so far in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("served"))
    try:
        end = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{running.url}/healthz", timeout=2)
                break
            except httpx.HTTPError:
                assert time.monotonic() < end
                assert running.process.poll() is None
                time.sleep(0.1)
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()


@pytest.fixture(scope="module")
def curation(served: Served) -> str:
    captions = {f"sample {number}": "a dog on a bench" for number in range(40)}
    with httpx.Client(base_url=served.url, timeout=30) as http:
        dataset = http.post("/v1/datasets", json={"name": "under load"}).json()["id"]
        http.put(f"/v1/datasets/{dataset}/uploads/a.tar", content=tar_of_samples(captions))
        while http.get(f"/v1/datasets/{dataset}/uploads/a.tar").json()["state"] != "ingested":
            time.sleep(0.1)
        curation = http.post(f"/v1/datasets/{dataset}/curations", json={}).json()["id"]
        while http.get(f"/v1/curations/{curation}").json()["state"] != "completed":
            time.sleep(0.1)
    return str(curation)


@contextmanager
def healthy(served: Served) -> Iterator[None]:
    """Ask for health all the time; afterwards every answer must have come within a second."""
    taken: list[float] = []
    with httpx.Client(base_url=served.url, timeout=20) as http:
        quiet = max(http.get("/healthz").elapsed.total_seconds() for _ in range(10))
    over = threading.Event()

    def ask() -> None:
        # As a probe does, on a connection that it keeps; where that had to make room, on a new one.
        with httpx.Client(base_url=served.url, timeout=20) as http:
            began = time.monotonic()
            while not over.wait(0.05):
                with suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    assert http.get("/healthz").status_code == 200
                    taken.append(time.monotonic() - began - 0.05)
                    began = time.monotonic()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert taken
    assert served.process.poll() is None
    assert served.peak() < 2048
    assert (served.data / "cocu.log").stat().st_size < 1_000_000
    if max(taken) >= 1.0 and quiet > BUSY_SECONDS:
        pytest.skip(f"/healthz took {max(taken):.1f} s, but {quiet:.2f} s without load: the machine is busy")
    assert max(taken) < 1.0


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("", id="silence"),
        pytest.param("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: ", id="half a head"),
        pytest.param(
            "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", id="half a body"
        ),
        pytest.param("GET /v1/curations/CURATION/batches HTTP/1.1\r\nHost: localhost\r\n\r\n", id="batches"),
        pytest.param("GET /v1/curations/CURATION/export HTTP/1.1\r\nHost: localhost\r\n\r\n", id="exports"),
        pytest.param("GET /v1/curations/CURATION/events HTTP/1.1\r\nHost: localhost\r\n\r\n", id="followers"),
    ],
)  # fmt: skip
def test_connections__that_are_held_keep_nobody_out(served: Served, curation: str, sent: str) -> None:
    with ExitStack() as stack, healthy(served):
        for _ in range(1100 if HEAVY else 150):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=20))
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(sent.replace("CURATION", curation).encode())
        time.sleep(8 if HEAVY else 1)


def bomb() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (7000, 7000), "olive").save(out, "PNG", compress_level=1)
    return out.getvalue()


@pytest.mark.slow
def test_requests__that_cost_the_most_are_bounded(served: Served, curation: str) -> None:
    times = 20 if HEAVY else 2
    dataset = httpx.get(f"{served.url}/v1/curations/{curation}").json()["dataset"]
    search = {"dataset": dataset, "image": base64.b64encode(bomb()).decode()}
    labels = {"labels": {f"{number:07d}": list("abcdefgh") for number in range(75_000 * times)}}
    evaluations = f"/v1/curations/{curation}/evaluations"
    bodies = [
        ("/v1/search", json.dumps(search).encode(), 422),
        (evaluations, json.dumps(labels).encode(), 422),
        (evaluations, b'{"labels": [' + b"[]," * (4_000_000 * times) + b"[]]}", 422),
        ("/v1/vocabularies", b'{"text": "x", "document": [' + b"[]," * (1_000_000 * times) + b"[]]}", 413),
        ("/v1/search", b'{"dataset": [' + b"[]," * 7_000_000 + b"[]]}", 413),
    ]
    with healthy(served), httpx.Client(base_url=served.url, timeout=280) as http:
        for path, body, status in bodies:
            assert http.post(path, content=body, headers=JSON).status_code == status


def test_stopping__ends_by_itself_with_readers_that_take_nothing(served: Served, curation: str) -> None:
    with ExitStack() as stack:
        request = f"GET /v1/curations/{curation}/export HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=20))
            connection.sendall(request)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
