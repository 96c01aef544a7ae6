"""Whatever is sent, the answer is a problem or what was asked for, and never a failure of the service."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu_training.configuration import TrainingConfiguration

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=40) | st.sampled_from(
    ["\0", "..", "%", "%2F", "../keys.json", "../../runs.sqlite", "-1", "9" * 25, "null", "'; --", "\ud800"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, 0, -1])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
GETS = (
    "/v1/runs/{0}",
    "/v1/runs/{0}/events",
    "/v1/runs/{0}/results",
    "/v1/runs/{0}/files/{1}",
    "/v1/runs/{run}/files/{0}",
    "/v1/runs/{run}/files/{0}/{1}",
    "/v1/runs/{run}/{0}",
    "/{0}/{1}",
)
FIELDS = tuple(json.loads(TrainingConfiguration.tiny().to_json()))
LEAVING = (
    "../keys.json",
    "../../runs.sqlite",
    "%2e%2e/configuration.json",
    "..%2fconfiguration.json",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "checkpoints/../../lock",
    "checkpoints",
    ".",
)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, platform: Platform, repository: Path
) -> Iterator[tuple[Training, str]]:
    """A service with a completed run, and the run's id; it trains nothing that is sent here."""
    folder = tmp_path_factory.mktemp("hostile")
    with training_on(platform, settings_of(folder, platform, repository, max_queued=10**6)) as training:
        run = training.submit(steps=1)["id"]
        training.wait(run)
        blocking = training.submit(steps=100_000)["id"]
        yield training, run
        training.http.post(f"/v1/runs/{blocking}/stop")
        for run in training.http.get("/v1/runs", params={"state": "queued", "limit": 1000}).json()["items"]:
            training.http.post(f"/v1/runs/{run['id']}/stop")


def well_answered(answer: httpx.Response) -> bool:
    if answer.status_code < 400:
        return True
    problem = json.loads(answer.content)
    return (
        answer.status_code < 500
        and answer.headers["content-type"] == "application/problem+json"
        and problem["status"] == answer.status_code
        and problem["type"].startswith("urn:cocu:problem:")
        and bool(problem["detail"])
    )


def post(training: Training, body: object) -> httpx.Response:
    return training.http.post(
        "/v1/runs", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )


@QUICK
@given(route=st.sampled_from(GETS), first=TEXT, second=TEXT)
def test_paths__with_any_segments(shared: tuple[Training, str], route: str, first: str, second: str) -> None:
    training, run = shared
    segments = [quote(part, safe="", errors="surrogatepass") for part in (first, second)]
    assert well_answered(training.http.get(route.format(*segments, run=run)))


@QUICK
@given(query=st.dictionaries(st.sampled_from(["limit", "cursor", "state"]), TEXT))
def test_queries__with_any_values(shared: tuple[Training, str], query: dict[str, str]) -> None:
    safe = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    assert well_answered(shared[0].http.get("/v1/runs", params=safe))


@QUICK
@given(body=JSON)
def test_bodies__of_any_json(shared: tuple[Training, str], body: object) -> None:
    assert well_answered(post(shared[0], body))


@QUICK
@given(configuration=st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON | TEXT, max_size=3), name=TEXT)
def test_configurations__of_any_values(
    shared: tuple[Training, str], configuration: dict[str, Any], name: str
) -> None:
    training, _ = shared
    body = training.body() | {"configuration": configuration, "name": name}
    answer = post(training, body)
    assert well_answered(answer)
    if answer.status_code == 201:
        assert well_answered(training.http.get(answer.headers["location"]))


@pytest.mark.parametrize(
    "configuration",
    [
        {"tokenizer": "/etc/passwd"},
        {"tokenizer": "../secret.json"},
        {"tokenizer": "pyproject.toml"},
        {"tokenizer": "a\0.json"},
        {"tokenizer": "a" * 900 + ".json"},
        {"arm": "oracle", "oracle": "/proc/self/environ"},
        {"workers": 10**6},
        {"global_batch": 10**12},
        {"temperature": float("nan")},
        {"learning_rate": 10**400},
        {"templates": ["{}"] * 5000},
        {"templates": ["\ud800{}"]},
        {"unknown": 1},
    ],
)
def test_configurations__that_ask_for_what_is_not_theirs(
    shared: tuple[Training, str], configuration: dict[str, Any]
) -> None:
    answer = post(shared[0], shared[0].body() | {"configuration": configuration})
    assert well_answered(answer)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("body.configuration")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"curation": ' + b"9" * 5000 + b"}",
        b'{"curation": "a", "configuration": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    ],
)
def test_bodies__that_are_no_run(shared: tuple[Training, str], body: bytes) -> None:
    answer = shared[0].http.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
    assert well_answered(answer)
    assert answer.status_code in {400, 422}


def test_bodies__of_another_type_and_of_any_size(shared: tuple[Training, str]) -> None:
    training, _ = shared
    form = training.http.post("/v1/runs", content=b"a=b", headers={"Content-Type": "text/plain"})
    assert (form.status_code, well_answered(form)) == (415, True)
    large = training.http.post("/v1/runs", content=b" " * (2 << 20))
    assert (large.status_code, well_answered(large)) == (413, True)
    chunked = training.http.post(
        "/v1/runs", content=(b" " * 65536 for _ in range(40)), headers={"Content-Type": "application/json"}
    )
    assert (chunked.status_code, well_answered(chunked)) == (413, True)


@pytest.mark.parametrize("name", LEAVING)
def test_files__outside_of_a_run_are_not_there(shared: tuple[Training, str], name: str) -> None:
    training, run = shared
    address = urlsplit(training.url)
    request = f"GET /v1/runs/{run}/files/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "path", ["..", "%2e%2e", "../..", "run_/../..", "run_%00", "keys.json", "%2ftmp", "."]
)
def test_runs__that_are_paths_are_not_deleted(shared: tuple[Training, str], path: str) -> None:
    training, run = shared
    names = sorted(file.name for file in training.settings.data.rglob("*") if file.suffix != ".sqlite-wal")
    address = urlsplit(training.url)
    request = f"DELETE /v1/runs/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ", 2)[1] in {b"404", b"405"}
    assert b"application/problem+json" in answer
    assert set(names) <= {file.name for file in training.settings.data.rglob("*")}
    assert training.get(run)["state"] == "completed"


def test_files__that_are_links_are_not_there(shared: tuple[Training, str]) -> None:
    training, run = shared
    (training.output(run) / "link.json").symlink_to("/etc/hostname")
    (training.output(run) / "folder").symlink_to("/etc")
    names = {file["name"] for file in training.http.get(f"/v1/runs/{run}/files").json()["items"]}
    assert not any(name.startswith(("link", "folder")) for name in names)
    for name in ("link.json", "folder/hostname"):
        assert training.http.get(f"/v1/runs/{run}/files/{name}").status_code == 404


@pytest.mark.parametrize(
    "value", ["bytes=0-0,2-3", "bytes=" + ",".join(["0-1"] * 10_000), "bytes=-", "bytes=5-2", "x", "bytes=-0"]
)
def test_ranges__of_any_form(shared: tuple[Training, str], value: str) -> None:
    training, run = shared
    answer = training.http.get(f"/v1/runs/{run}/files/records.jsonl", headers={"Range": value})
    assert well_answered(answer)
    assert answer.status_code in {200, 416}


@pytest.mark.parametrize("header", ["Last-Event-ID", "Idempotency-Key"])
@pytest.mark.parametrize("value", ["", "-1", "9" * 400, "²", "\x7f", '"', "a b", "é"])
def test_headers__of_any_value(shared: tuple[Training, str], header: str, value: str) -> None:
    training, run = shared
    given_headers = [(header.encode(), value.encode())]
    assert well_answered(training.http.get(f"/v1/runs/{run}/events", headers=given_headers))
    assert well_answered(training.http.post("/v1/runs", json={}, headers=given_headers))


def test_methods__that_are_not_possible(shared: tuple[Training, str]) -> None:
    training, run = shared
    for method in ("PUT", "PATCH", "OPTIONS"):
        answer = training.http.request(method, f"/v1/runs/{run}")
        assert (answer.status_code, well_answered(answer)) == (405, True)
        assert answer.headers["allow"] == "GET, DELETE"
