"""Vectors in a folder, and a server that is away; what both forms have in common is in tests/contracts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from qdrant_client.local.local_collection import LocalCollection
from tests.servers.binaries import free_port

from cocu.errors import UnavailableError
from cocu.storage.vectors import VectorOptions, Vectors

OURS = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}


@pytest.fixture
def vectors() -> Iterator[Vectors]:
    opened = Vectors.open(":memory:")
    opened.ensure_collection(encoder="e1", dimensions=8)
    yield opened
    opened.close()


def unit(count: int, seed: int = 0, dimensions: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def keys(count: int) -> list[str]:
    return [f"k/{number}" for number in range(count)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.text(max_size=3)),
        min_size=2,
        max_size=6,
        unique=True,
    ).filter(
        lambda names: not any("\ud800" <= c <= "\udfff" for name in names for part in name for c in part)
    )
)
def test_no_choice_of_names_reaches_another(names: list[tuple[str, str, str]]) -> None:
    vectors = Vectors.open(":memory:")
    vectors.ensure_collection(encoder="e", dimensions=2)
    for number, (tenant, dataset, key) in enumerate(names):
        vectors.upsert_samples(
            encoder="e", tenant=tenant, dataset=dataset, keys=[key], first_row=number,
            embeddings_ND=np.array([[1.0, 0.0]]),
        )  # fmt: skip
    for tenant, dataset, _ in names:
        hits = vectors.search(encoder="e", tenant=tenant, dataset=dataset, vector_D=np.array([1.0, 0.0]))
        assert [hit.row for hit in hits] == [
            number for number, name in enumerate(names) if name[:2] == (tenant, dataset)
        ]
    vectors.close()


def test_a_folder_keeps_what_was_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "vectors"
    first = Vectors.open(str(folder))
    first.ensure_collection(encoder="e1", dimensions=8)
    first.upsert_samples(**OURS, keys=keys(3), first_row=0, embeddings_ND=unit(3))
    first.set_concepts(**OURS, curation="c", keys=keys(1), concepts=[["dog"]])
    first.close()
    again = Vectors.open(folder.as_uri())
    assert again.count(**OURS) == 3
    assert [hit.row for hit in again.search(**OURS, vector_D=unit(1)[0], curation="c", concepts=["dog"])] == [
        0
    ]
    again.close()


def test_one_folder_serves_one_process(tmp_path: Path) -> None:
    held = Vectors.open(str(tmp_path))
    with pytest.raises(UnavailableError, match="in use by another process; stop it"):
        Vectors.open(str(tmp_path))
    program = f"from cocu.storage.vectors import Vectors; Vectors.open({str(tmp_path)!r})"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UnavailableError" in other.stderr
    held.close()
    Vectors.open(str(tmp_path)).close()


def test_a_damaged_folder_is_unavailable_not_a_crash(tmp_path: Path) -> None:
    opened = Vectors.open(str(tmp_path))
    opened.ensure_collection(encoder="e1", dimensions=8)
    opened.close()
    (stored,) = tmp_path.rglob("storage.sqlite")
    stored.write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError):
        Vectors.open(str(tmp_path))


def test_commits_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    # Reaches into the client as `vectors` does, to notice a version in which that has no effect.
    for _ in range(2):
        vectors = Vectors.open(str(tmp_path))
        vectors.ensure_collection(encoder="e1", dimensions=8)
        (collection,) = vectors._connection.client._client.collections.values()  # type: ignore[attr-defined]
        assert collection.storage.storage.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert collection.storage.storage.execute("PRAGMA synchronous").fetchone() == (1,)
        vectors.close()


def test_no_warning_about_large_collections(vectors: Vectors) -> None:
    assert LocalCollection.LARGE_DATA_THRESHOLD > 10**9


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_server_that_does_not_answer(prefer_grpc: bool) -> None:
    options = VectorOptions(prefer_grpc=prefer_grpc, grpc_port=free_port(), seconds=1)
    nobody = Vectors.open("http://127.0.0.1:9", options=options)
    with pytest.raises(UnavailableError, match=r"vector store does not answer: .*[Cc]onnect"):
        nobody.count(**OURS)
    with pytest.raises(UnavailableError, match="vector store does not answer"):
        nobody.check()
    nobody.close()


@contextmanager
def scripted(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """A server that counts: it answers with these statuses, then with success; and what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            status = statuses[len(asked) - 1] if len(asked) <= len(statuses) else 200
            answer = {"result": {"count": 7}, "status": "ok" if status == 200 else {"error": "no"}, "time": 0}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_failure_that_may_pass_is_tried_again() -> None:
    with scripted(503, 502, 429, 500) as (url, asked):
        vectors = Vectors.open(url, options=VectorOptions(prefer_grpc=False, seconds=30))
        assert vectors.count(**OURS) == 7
        assert len(asked) == 5
        vectors.close()


@pytest.mark.parametrize("status", [400, 422])
def test_a_failure_that_will_not_pass_is_not_tried_again(status: int) -> None:
    with scripted(status) as (url, asked):
        vectors = Vectors.open(url, options=VectorOptions(prefer_grpc=False, seconds=30))
        with pytest.raises(UnavailableError, match=str(status)):
            vectors.count(**OURS)
        assert len(asked) == 1
        assert vectors.count(**OURS) == 7
        vectors.close()


def test_a_server_that_stays_away_is_left_alone_for_some_seconds() -> None:
    with scripted(*[503] * 1000) as (url, asked):
        vectors = Vectors.open(url, options=VectorOptions(prefer_grpc=False, seconds=1))
        with pytest.raises(UnavailableError, match="503"):
            vectors.count(**OURS)
        before = len(asked)
        assert before > 1
        with pytest.raises(UnavailableError, match="asked again in some seconds"):
            vectors.count(**OURS)
        assert len(asked) == before
        vectors.close()


def test_only_this_module_uses_a_qdrant_client(repository: Path) -> None:
    users = {
        path.parent.relative_to(repository).as_posix()
        for path in (repository / "services").rglob("*.py")
        if "qdrant_client" in path.read_text()
    }
    assert users == {"services/cocu/storage/vectors"}
    assert QdrantClient is not None
