"""What the service shares with the platform (`cocu.http`): host names, origins, patience, names."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("torch")

from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu.http.hosts import HostCheck
from cocu_training.service import server
from cocu_training.service.application import create_app


def test_the_application__looks_at_hosts_before_anything_else(training: Training) -> None:
    app = create_app(settings=training.settings, runs=None, runner=None, keys=None)  # type: ignore[arg-type]
    assert app.user_middleware[0].cls is HostCheck


def test_other_host_names_are_not_answered(tmp_path: Path, platform: Platform, repository: Path) -> None:
    settings = settings_of(tmp_path / "service", platform, repository, hosts=("trainer", "*.internal"))
    with training_on(platform, settings) as started:
        for host, status in (
            ("evil.example", 421),
            ("localhost", 200),
            ("trainer:8100", 200),
            ("a.internal", 200),
            ("trainer.evil.example", 421),
        ):
            assert started.http.get("/v1/runs", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_pages_of_other_sites_start_no_run(training: Training, origin: str) -> None:
    headers = {"Origin": origin}
    answer = training.http.post("/v1/runs", json=training.body(steps=1), headers=headers)
    assert answer.status_code == 403, answer.text
    assert training.http.get("/v1/runs").json()["items"] == []
    own = {"Origin": training.url}
    assert training.http.post("/v1/runs", json=training.body(steps=1), headers=own).status_code == 201


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/runs HTTP/1.1\r\nHost: local", b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\n"
     b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)  # fmt: skip
def test_requests_that_never_end_are_given_up(
    tmp_path: Path, platform: Platform, repository: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.5)
    with training_on(platform, settings_of(tmp_path / "service", platform, repository)) as started:
        where = urlsplit(started.url)
        with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
            connection.sendall(sent)
            begun = time.monotonic()
            while connection.recv(65_536):
                pass
        assert time.monotonic() - begun < 15
        assert started.http.get("/v1/runs").status_code == 200


def test_requests_of_doubtful_length_are_closed(training: Training) -> None:
    where = urlsplit(training.url)
    doubtful = (
        b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(doubtful)
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("name", ["a\r\nb", "bell\x07", "exe.\u202egpj", "two\u2028lines", "   "])
def test_names_of_runs__are_one_line_in_one_direction(training: Training, name: str) -> None:
    answer = training.http.post("/v1/runs", json={**training.body(steps=1), "name": name})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.name"
