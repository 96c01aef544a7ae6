"""The client against servers that misbehave: real sockets, answers written out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cocu.client import (
    CocuClient,
    ConflictError,
    ConnectionFailedError,
    InvalidInputError,
    ServerFailedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from cocu.client.server_sent_events import read_event_data
from cocu.client.transport import segment

DATASET = b'{"id": "d", "name": "n", "created_at": "2026-01-01T00:00:00Z", "from a newer server": 1}'


def answer(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def problem(status: int, title: str, *headers: str) -> bytes:
    body = f'{{"type": "urn:x", "title": "{title}", "status": {status}, "detail": "why"}}'.encode()
    return answer(f"{status} {title}", body, *headers, kind="application/problem+json")


@contextmanager
def serving(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, one a connection, and keeps what it was asked; b"" hangs up."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    requests.append(connection.recv(1 << 20))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        host, port = listening.getsockname()
        yield f"http://{host}:{port}", requests
        thread.join(timeout=5)


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_idempotent__calls_are_repeated_after_connection_errors_and_503() -> None:
    answers = (b"", problem(503, "Unavailable", "Retry-After: 1"), answer("200 OK", DATASET))
    with serving(*answers) as (url, requests), CocuClient(url) as client:
        assert client.datasets.get("d").id == "d"
        assert len(requests) == 3


def key_of(request: bytes) -> str:
    (line,) = [line for line in request.split(b"\r\n") if line.lower().startswith(b"idempotency-key:")]
    return line.partition(b":")[2].strip().decode()


def test_creating__is_repeated_under_one_key_and_every_call_has_its_own() -> None:
    created = answer("201 Created", DATASET)
    in_flight = problem(409, "In flight", "Retry-After: 1")
    answers = (b"", problem(503, "Unavailable", "Retry-After: 1"), in_flight, created, created)
    with serving(*answers) as (url, requests), CocuClient(url) as client:
        client.datasets.create("n")
        client.datasets.create("n")
    keys = [key_of(request) for request in requests]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[3]


def test_creating__what_exists_is_not_repeated() -> None:
    with serving(problem(409, "Conflict")) as (url, requests), CocuClient(url) as client:
        with pytest.raises(ConflictError):
            client.datasets.create("n")
        assert len(requests) == 1


def test_creating__ends_after_some_attempts() -> None:
    answers = [problem(503, "Unavailable")] * 3
    with serving(*answers) as (url, requests), CocuClient(url, retries=2) as client:
        with pytest.raises(UnavailableError):
            client.datasets.create("n")
        assert len(requests) == 3


@pytest.mark.parametrize(
    "create",
    [
        lambda client: client.datasets.retry("d"),
        lambda client: client.datasets.fetch("d", "https://example.org/a.tar"),
        lambda client: client.vocabularies.shipped(),
        lambda client: client.curations.create("d"),
        lambda client: client.evaluations.create("c", labels={"a": ["dog"]}),
    ],
)
def test_creating__anything_carries_a_key(create: Callable[[CocuClient], object]) -> None:
    with serving(problem(422, "T")) as (url, requests), CocuClient(url) as client:
        with pytest.raises(InvalidInputError):
            create(client)
        assert key_of(requests[0])


def test_retries__end() -> None:
    with (
        serving(*[problem(503, "Unavailable")] * 3) as (url, requests),
        CocuClient(url, retries=2) as client,
    ):
        with pytest.raises(UnavailableError):
            client.datasets.get("d")
        assert len(requests) == 3


def test_retry_after__is_honoured_and_too_long_a_pause_is_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with (
        serving(problem(503, "U", "Retry-After: 7"), problem(503, "U", "Retry-After: 3600")) as (url, _),
        CocuClient(url) as client,
        pytest.raises(UnavailableError),
    ):
        client.datasets.get("d")
    assert slept == [7.0]


@pytest.mark.parametrize(
    ("status", "kind"), [(409, ConflictError), (422, InvalidInputError), (500, ServerFailedError)]
)
def test_problems__are_typed_errors(status: int, kind: type[Exception]) -> None:
    with (
        serving(problem(status, "T")) as (url, _),
        CocuClient(url) as client,
        pytest.raises(kind, match="why"),
    ):
        client.datasets.create("n")


@pytest.mark.parametrize(
    "content",
    [
        answer("200 OK", b"<html>hello</html>", kind="text/html"),
        answer("404 Not Found", b"<html>no</html>", kind="text/html"),
        answer("200 OK", b'{"id": 5}'),
    ],
)
def test_answers__of_something_else_say_so(content: bytes) -> None:
    with serving(content) as (url, _), CocuClient(url) as client, pytest.raises(UnexpectedAnswerError):
        client.datasets.create("n")


def test_nobody_there__says_what_to_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with (
        CocuClient(f"http://127.0.0.1:{port}", retries=1) as client,
        pytest.raises(ConnectionFailedError, match="is the platform running there"),
    ):
        client.health()


def test_api_key__is_sent_and_paths_are_encoded() -> None:
    body = b'{"items": [], "next": null}'
    with serving(answer("200 OK", body)) as (url, requests), CocuClient(url, "secret") as client:
        assert list(client.archives.list("a/b")) == []
    assert b"GET /v1/curations/a%2Fb/archives" in requests[0]
    assert b"authorization: bearer secret" in requests[0].lower()


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), ("100%", "100%25"), ("é", "%C3%A9"), ("a?b#c", "a%3Fb%23c")],
)
def test_segment__keeps_every_character(text: str, encoded: str) -> None:
    assert segment(text) == encoded


def test_pages__follow_the_cursor() -> None:
    item = DATASET.decode()
    pages = (
        f'{{"items": [{item}], "next": "c1"}}',
        '{"items": [], "next": "c2"}',
        f'{{"items": [{item}]}}',
    )
    with (
        serving(*[answer("200 OK", page.encode()) for page in pages]) as (url, requests),
        CocuClient(url) as client,
    ):
        assert len(list(client.datasets.list())) == 2
    assert b"cursor=c1" in requests[1]
    assert b"cursor=c2" in requests[2]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_events__arrive_in_any_pieces(cut: int) -> None:
    stream = 'id: 1\ndata: {"a": "\u2028 \x85"}\n\n: ping\n\ndata: x\ndata: y\n\ndata: unfinished'.encode()
    chunks = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    assert list(read_event_data(chunks)) == ['{"a": "\u2028 \x85"}', "x\ny"]


def test_events__a_lost_connection_is_taken_up_again() -> None:
    def event(number: int, state: str) -> bytes:
        data = (
            f'{{"id": {number}, "at": "2026-01-01T00:00:00Z", "kind": "state", '
            f'"data": {{"state": "{state}"}}}}'
        )
        return f"id: {number}\nevent: state\ndata: {data}\n\n".encode()

    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n"
    rest = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    answers = (head + event(1, "queued"), rest + event(2, "completed"))
    with serving(*answers) as (url, requests), CocuClient(url) as client:
        assert [event.id for event in client.curations.events("c")] == [1, 2]
    assert b"last-event-id: 1" in requests[1].lower()


def test_answers__that_break_off_are_asked_for_again() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    with serving(cut, answer("200 OK", DATASET)) as (url, requests), CocuClient(url) as client:
        assert client.datasets.get("d").name == "n"
    assert len(requests) == 2
