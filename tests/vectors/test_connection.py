"""A server that is away, or refuses; what all forms of the store have in common is in tests/contracts."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient
from tests.servers.binaries import free_port

from cocu.errors import RefusedError, UnavailableError
from cocu.vectors import ArchivedConcept, VectorOptions, Vectors

OURS: Any = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}


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
def scripted(*statuses: int, error: str = "no") -> Iterator[tuple[str, list[str]]]:
    """A server that counts: it answers with these statuses, then with success; and what it was asked.

    error: what it says with a status other than 200.
    """
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            status = statuses[len(asked) - 1] if len(asked) <= len(statuses) else 200
            answer = {
                "result": {"count": 7},
                "status": "ok" if status == 200 else {"error": error},
                "time": 0,
            }
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST

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
        with pytest.raises(RefusedError, match=f"refuses what it was asked: .*{status}.*Trying again"):
            vectors.count(**OURS)
        assert len(asked) == 1
        assert vectors.count(**OURS) == 7
        vectors.close()


def _search(vectors: Vectors) -> None:
    vectors.search(**OURS, vector_D=np.ones(4, np.float32), concepts=[ArchivedConcept("ab" * 8, 1)])


def _upsert(vectors: Vectors) -> None:
    vectors.upsert_samples(**OURS, keys=["a"], first_row=0, embeddings_ND=np.ones((1, 4), np.float16))


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        pytest.param(
            _search,
            'Bad request: Index required but not found for "concepts" of one of these types: [integer]',
            id="missing index",
        ),
        pytest.param(
            _search,
            'Forbidden: Limit exceeded 20 > 10 for "limit". Help: Reduce the "limit" parameter.',
            id="strict mode",
        ),
        pytest.param(
            _upsert,
            'Bad request: Limit exceeded 1 > 0 for "upsert limit". Help: Reduce the number of points.',
            id="batch size",
        ),
        pytest.param(
            _upsert,
            "Request larger than than rate limit, please try to split your request",
            id="rate limit",
        ),
    ],
)
def test_a_refusal_says_what_the_server_said_and_is_not_repeated(
    ask: Callable[[Vectors], None], error: str
) -> None:
    with scripted(400, error=error) as (url, asked):
        vectors = Vectors.open(url, options=VectorOptions(prefer_grpc=False, seconds=30))
        with pytest.raises(RefusedError, match=r"refuses what it was asked: .*strict mode") as refused:
            ask(vectors)
        assert error in str(refused.value)
        assert len(asked) == 1
        # Nobody else is kept away by it.
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
        if re.search(r"^\s*(import|from) qdrant_client", path.read_text(), re.MULTILINE)
    }
    assert users == {"services/cocu/vectors"}
    assert QdrantClient is not None
