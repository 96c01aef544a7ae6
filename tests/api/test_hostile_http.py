"""Clients that are slow, send wrong lengths, or send too much."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.api.conftest import Curated
from tests.local_platform import running
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer

HEAD = (
    b"POST /v1/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\n"
)
BODY = b'{"name": "sent by hand"}'


def connected(server: LocalServer) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def exchanged(server: LocalServer, *parts: bytes) -> bytes:
    """Send these bytes, and return everything up to the end of the connection."""
    with connected(server) as connection:
        connection.sendall(b"".join(parts))
        return received(connection)


def received(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def problem_in(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, head
    return dict(json.loads(body))


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("impatient")
    encoder = write_tiny_encoder(folder / "encoder")
    with running(folder / "data", encoder, request_head_seconds=1.0, upload_idle_seconds=0.5) as started:
        yield started


def test_heads__that_come_a_byte_at_a_time_keep_nobody_else_waiting(server: LocalServer) -> None:
    slow = [connected(server) for _ in range(200)]
    try:
        for at in range(0, 12, 3):
            for connection in slow:
                connection.sendall(HEAD[at : at + 3])
            with httpx.Client(base_url=server.url, timeout=5) as client:
                assert client.get("/v1/datasets").status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_heads__that_never_end_are_given_up(impatient: LocalServer) -> None:
    with connected(impatient) as connection:
        try:
            for at in range(len(HEAD)):
                connection.sendall(HEAD[at : at + 1])
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert at < len(HEAD) - 1
    with connected(impatient) as connection:
        assert problem_in(received(connection))["status"] == 408


def test_heads__of_later_requests_on_a_connection_are_given_up_too(impatient: LocalServer) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        assert b"HTTP/1.1 408" in received(connection)


def test_bodies__that_fall_silent_are_given_up(impatient: LocalServer) -> None:
    with connected(impatient) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        assert b"HTTP/1.1 2" not in received(connection)
    with httpx.Client(base_url=impatient.url) as client:
        assert client.get("/v1/datasets").json()["items"] == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 5\r\nContent-Length: 500\r\n", id="two lengths"),
        pytest.param(b"Content-Length: -1\r\n", id="a negative length"),
        pytest.param(b"Content-Length: 99999999999999999999999999\r\n", id="an endless length"),
        pytest.param(b"Content-Length: 5, 6\r\n", id="a list of lengths"),
        pytest.param(b"Content-Length: 0x10\r\n", id="a hexadecimal length"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="an unknown coding"),
        pytest.param(b"X: " + b"y" * 64 * 1024 + b"\r\n", id="a header of 64 KiB"),
        pytest.param(b"".join(b"X%d: y\r\n" % at for at in range(10_000)), id="10,000 headers"),
    ],
)
def test_heads__that_cannot_be_right_are_refused(server: LocalServer, head: bytes) -> None:
    status = problem_in(exchanged(server, HEAD, head, b"\r\n", BODY))["status"]
    # A request that comes in one piece may still be read, and is refused because it has no body.
    assert status in {400, 413, 422}


def test_lengths__shorter_than_the_body_end_the_request_there(server: LocalServer) -> None:
    answer = exchanged(server, HEAD, b"Content-Length: 5\r\n\r\n", BODY)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"HTTP/1.1 2" not in answer


def test_lengths__longer_than_the_body_create_nothing(server: LocalServer, http: httpx.Client) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + BODY)
    names = [item["name"] for item in http.get("/v1/datasets", params={"limit": 1000}).json()["items"]]
    assert "sent by hand" not in names


def test_lengths__beside_chunks_do_not_count(server: LocalServer) -> None:
    chunked = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    answer = exchanged(server, HEAD, chunked)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4")


def test_bodies__without_a_length_are_empty(server: LocalServer) -> None:
    assert problem_in(exchanged(server, HEAD, b"\r\n"))["status"] in {400, 415, 422}


def test_ranges__of_ten_thousand_parts_cost_nothing(http: httpx.Client, curated: Curated) -> None:
    ranges = "bytes=" + ",".join(["0-"] * 10_000)
    path = f"/v1/datasets/{curated.dataset.id}/samples/plain/image"
    whole = http.get(path)
    answer = http.get(path, headers={"Range": ranges})
    assert (answer.status_code, answer.content) == (200, whole.content)


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/vocabularies", "/v1/search"])
def test_forms__of_ten_thousand_parts_are_not_read(http: httpx.Client, path: str) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n1\r\n'
    answer = http.post(
        path,
        content=part * 10_000 + b"--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/v1/search", "/v1/datasets/{dataset}/imports"])
def test_bodies__ten_thousand_deep_are_refused(http: httpx.Client, curated: Curated, path: str) -> None:
    body = b'{"filters":' * 10_000 + b"1" + b"}" * 10_000
    path = path.format(dataset=curated.dataset.id)
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_lists__refuse_limits_and_cursors_that_are_none(http: httpx.Client, curated: Curated) -> None:
    ids = {"dataset": curated.dataset.id, "curation": curated.curation.id, "other": curated.curation.id}
    ids |= {"vocabulary": curated.curation.vocabulary}
    lists = 0
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        parameters = methods.get("get", {}).get("parameters", ())
        if "cursor" not in {parameter["name"] for parameter in parameters}:
            continue
        lists += 1
        required = {
            parameter["name"]: ids[parameter["name"]]
            for parameter in parameters
            if parameter["in"] == "query" and parameter.get("required")
        }
        if path == "/v1/search":
            required["text"] = "a dog"
        for query in (
            {"limit": "-1"},
            {"limit": str(2**63)},
            {"limit": "1e3"},
            {"cursor": "AAAAAAAAAAAAAAAAAAAA"},
        ):
            answer = http.get(path.format_map(ids), params=required | query)
            assert (answer.status_code, path) == (422, path)
            assert answer.json()["errors"][0]["field"] == f"query.{next(iter(query))}"
    assert lists >= 10


def test_cursors__of_one_list_are_refused_by_others(http: httpx.Client, curated: Curated) -> None:
    cursor = http.get(f"/v1/datasets/{curated.dataset.id}/samples", params={"limit": 1}).json()["next"]
    for path in ("/v1/datasets", f"/v1/datasets/{curated.dataset.id}/uploads", "/v1/vocabularies"):
        assert http.get(path, params={"cursor": cursor}).status_code == 422


def test_encoding__of_paths_reaches_no_file(http: httpx.Client, curated: Curated) -> None:
    outside = Path("/etc/passwd").read_bytes()
    for key in ("..%2F..%2F..%2Fetc%2Fpasswd", "%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc%252fpasswd"):
        for path in ("samples/{}/image", "uploads/{}", "uploads/resumable/{}"):
            answer = http.get(f"/v1/datasets/{curated.dataset.id}/{path.format(key)}")
            assert answer.status_code in {404, 405, 422}
            assert answer.content != outside


SMUGGLED = b"DELETE /v1/datasets/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", id="a length and chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", id="chunks and a length"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="chunks not at the end"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="no known coding"),
        pytest.param(b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", id="a space before the colon"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6\r\n", id="two lengths"),
        pytest.param(b"Content-Length: +5\r\n", id="a length with a sign"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", id="two codings"),
    ],
)
def test_lengths__that_are_in_doubt_end_the_connection_and_carry_no_second_request(
    server: LocalServer, head: bytes
) -> None:
    answer = exchanged(server, POST, head, b"\r\n0\r\n\r\n", SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("size", [70_000, 200_000])
@pytest.mark.parametrize("whole", [True, False])
def test_heads__larger_than_the_limit_are_refused_however_they_come(
    server: LocalServer, size: int, whole: bool
) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * size + b"\r\n\r\n"
    with connected(server) as connection:
        try:
            for start in range(0, len(head), len(head) if whole else 1000):
                connection.sendall(head[start : start + (len(head) if whole else 1000)])
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = received(connection)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 2" not in answer


def test_targets__in_absolute_form_name_the_host(server: LocalServer) -> None:
    def status(target: bytes, host: bytes) -> bytes:
        return exchanged(
            server, b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host)
        ).split()[1]

    assert status(b"http://localhost:1234/healthz", b"localhost") == b"200"
    assert status(b"http://localhost/healthz", b"evil.example") == b"200"
    assert status(b"http://evil.example/healthz", b"localhost") == b"421"
    assert status(b"http://a@evil.example:80/healthz", b"localhost") == b"400"


def test_upgrades__are_not_made_and_the_request_is_answered(server: LocalServer) -> None:
    upgrade = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    )
    answer = exchanged(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", upgrade, b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    answer = exchanged(server, POST, upgrade, b"Content-Length: 15\r\n\r\n", b'{"name": "h2c"}')
    assert answer.count(b"HTTP/1.1 ") == 1


def test_pages__of_other_sites_reach_nothing(server: LocalServer, http: httpx.Client) -> None:
    assert http.get("/v1/datasets", headers={"Host": "evil.example"}).status_code == 421
    evil = {"Origin": "http://evil.example"}
    for path in ("/v1/datasets", "/v1/datasets/any/retries"):
        assert http.post(path, headers=evil).status_code == 403
    assert http.delete("/v1/datasets/any", headers=evil).status_code == 403
    assert http.put("/v1/datasets/any/uploads/a.tar", content=b"x", headers=evil).status_code == 403
    answer = http.get("/healthz", headers=evil)
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)
