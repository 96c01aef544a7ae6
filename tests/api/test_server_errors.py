"""Unexpected errors, and the connection after them; requests with a whole URL."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.api.conftest import Curated
from tests.api.test_hostile_http import problem_in

from cocu.api.server import LocalServer

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET = b"GET /v1/encoders HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def failing(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """A server with a fault in two places, one of them before a body has been read."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault with /secret/paths")

    monkeypatch.setattr(server.platform.encoders, "list", fail)
    monkeypatch.setattr("cocu.api.upload_stream.quotas.check_room", fail)
    return server


@pytest.fixture
def connection(server: LocalServer) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connected:
        yield connected


def answered(connection: socket.socket, request: bytes) -> bytes:
    """Read one whole answer with a Content-Length."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_failures__leave_the_connection_as_it_was(failing: LocalServer, connection: socket.socket) -> None:
    for _ in range(3):
        answer = answered(connection, GET)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" not in answer.lower()
        assert b"secret" not in answer
        assert problem_in(answer)["type"] == "urn:cocu:problem:internal-error"
    assert answered(connection, HEALTH).startswith(b"HTTP/1.1 200 ")


def test_failures__after_which_a_body_stays_unread_say_that_it_ends(
    failing: LocalServer, connection: socket.socket, curated: Curated
) -> None:
    head = f"PUT /v1/datasets/{curated.dataset.id}/uploads/x.tar HTTP/1.1\r\nHost: localhost\r\n"
    answer = answered(connection, head.encode() + b"Content-Length: 1000000\r\n\r\n" + bytes(1000))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in answer.lower()
    assert connection.recv(1) == b""


def test_failures__of_a_head_have_no_body(failing: LocalServer, connection: socket.socket) -> None:
    connection.sendall(GET.replace(b"GET", b"HEAD"))
    assert connection.recv(65536).startswith(b"HTTP/1.1 500 ")
    assert answered(connection, HEALTH).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://localhost/healthz", b"200"),
        (b"HTTP://127.0.0.1:8000/v1/datasets?limit=1", b"200"),
        (b"http://localhost/", b"200"),
        (b"http://localhost/v1/datasets/%6Eone", b"404"),
        (b"http://localhost/v1/datasets?limt=1", b"422"),
        (b"http:///healthz", b"400"),
        (b"ftp://localhost/nothing", b"404"),
    ],
)
def test_whole_urls__are_understood(connection: socket.socket, target: bytes, status: bytes) -> None:
    answer = answered(connection, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.split(b" ")[1] == status
