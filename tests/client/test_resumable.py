"""Files over connections that break: what was sent once is not sent again, and what arrives is whole."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient, ConflictError, ConnectionFailedError
from cocu.client import datasets as client_datasets
from cocu.schemas import Dataset


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    with running(folder / "data", encoder, max_upload_bytes=40_000_000) as started:
        yield started


class Line:
    """A way to the server that is cut after so many bytes, once for each number in `cuts`."""

    def __init__(self, server: LocalServer, cuts: list[int]) -> None:
        self._cuts = cuts
        self.sent = 0
        host, _, port = server.url.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                cut = self._cuts.pop(0) if self._cuts else None
                self._threads.append(threading.Thread(target=self._carry, args=(near, cut)))
                self._threads[-1].start()

    def _carry(self, near: socket.socket, cut: int | None) -> None:
        with near, socket.create_connection(self._server) as far:
            back = threading.Thread(target=self._pump, args=(far, near, None, False))
            back.start()
            self._pump(near, far, cut, True)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, cut: int | None, up: bool) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                kept = part if cut is None else part[:cut]
                target.sendall(kept)
                self.sent += len(kept) if up else 0
                if cut is not None:
                    cut -= len(kept)
                    if cut == 0:
                        break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def over(server: LocalServer, *cuts: int) -> Iterator[tuple[CocuClient, Line]]:
    line = Line(server, list(cuts))
    try:
        with CocuClient(line.url) as client:
            yield client, line
    finally:
        line.close()


@pytest.fixture
def dataset(server: LocalServer, request: pytest.FixtureRequest) -> Dataset:
    with CocuClient(server.url) as client:
        return client.datasets.create(request.node.name)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large.tar"
    file.write_bytes(np.random.default_rng(0).bytes(20_000_000))
    return file


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_upload__over_a_line_that_breaks_arrives_whole_and_is_hardly_sent_twice(
    server: LocalServer, dataset: Dataset, large: Path
) -> None:
    seen: list[int] = []
    with over(server, 9_000_000, 300, 4_000_000, 10, 0x1000) as (client, line):
        (upload,) = client.datasets.upload(dataset.id, large, progress=lambda done, total: seen.append(done))
        assert (upload.sha256, upload.bytes) == (sha256(large), large.stat().st_size)
        assert upload.state != "receiving"
        assert seen[-1] == large.stat().st_size
        # What lay in buffers when the line broke is lost: much less than all that had arrived before.
        assert line.sent < 1.5 * large.stat().st_size


def test_upload__that_one_process_began_another_completes(
    server: LocalServer, dataset: Dataset, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with over(server, 8_000_000, *([1] * 60)) as (client, _), pytest.raises(ConnectionFailedError):
        client.datasets.upload(dataset.id, large)
    with over(server) as (client, line):
        (begun,) = client.datasets.uploads(dataset.id)
        assert begun.state == "receiving"
        assert begun.received > 4_000_000
        (upload,) = client.datasets.upload(dataset.id, large)
        assert upload.sha256 == sha256(large)
        assert line.sent < large.stat().st_size - begun.received + 100_000


def test_upload__of_the_same_content_again_sends_nothing(
    server: LocalServer, dataset: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "one.tar"
    file.write_bytes(tar_of_samples({"a": "a dog"}))
    with over(server) as (client, line):
        first = client.datasets.upload(dataset.id, file, resumable=True)
        sent = line.sent
        again = client.datasets.upload(dataset.id, file, resumable=True)
        assert [upload.ordinal for upload in first] == [upload.ordinal for upload in again]
        assert line.sent - sent < 2_000
        file.write_bytes(tar_of_samples({"b": "a cat"}))
        with pytest.raises(ConflictError):
            client.datasets.upload(dataset.id, file, resumable=True)


def test_upload__that_was_ended_or_failed_begins_anew(
    server: LocalServer, dataset: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "junk.tar"
    file.write_bytes(b"this is no archive" * 1000)
    with over(server) as (client, line):
        client.datasets.upload(dataset.id, file, resumable=True)
        client.datasets.wait(dataset.id, timeout=30)
        assert [upload.state for upload in client.datasets.uploads(dataset.id)] == ["failed"]
        sent = line.sent
        client.datasets.upload(dataset.id, file, resumable=True)
        assert line.sent - sent > file.stat().st_size


def test_upload__resumes_by_itself_where_the_file_is_large(
    server: LocalServer, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "one.tar"
    file.write_bytes(tar_of_samples({"a": "a dog"}))
    used: list[str] = []
    original = client_datasets.Datasets._resume
    monkeypatch.setattr(
        client_datasets.Datasets,
        "_resume",
        lambda *arguments: (used.append(arguments[2]), original(*arguments))[1],
    )
    with over(server) as (client, _):
        client.datasets.upload(dataset.id, file)
        assert used == []
        monkeypatch.setattr(client_datasets, "RESUMABLE_BYTES", file.stat().st_size - 1)
        client.datasets.upload(dataset.id, file)
        assert used == ["one.tar"]
