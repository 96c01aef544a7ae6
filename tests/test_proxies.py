"""What the environment says of proxies and certificates decides nothing about this machine itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from qdrant_client import QdrantClient

from cocu import proxies
from cocu.client import CocuClient
from cocu.client.exceptions import ConnectionFailedError
from cocu.errors import UnavailableError
from cocu.proxies import BadEnvironmentError
from cocu.storage.objects import ObjectStore
from cocu.vectors import VectorOptions, Vectors, connection

NOBODY = "http://127.0.0.1:9"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "grpc_proxy")
ENVIRONMENTS = {
    "dead proxy": {"HTTP_PROXY": NOBODY, "http_proxy": NOBODY, "https_proxy": NOBODY, "grpc_proxy": NOBODY},
    "socks": {"ALL_PROXY": "socks://127.0.0.1:9", "all_proxy": "socks://127.0.0.1:9"},
    "socks5": {"ALL_PROXY": "socks5://127.0.0.1:9"},
    "no URL": {"ALL_PROXY": "http://[::1", "HTTP_PROXY": "http://host:port"},
    "odd exceptions": {"NO_PROXY": "localhost,127.0.0.0/8,::1/128,[::1]"},
    "certificates": {"SSL_CERT_FILE": "/nonexistent/cacert.pem"},
}


class _Answers(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on this machine that answers everything; also as a proxy would be asked."""
    _Answers.asked.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENTS[request.param].items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_client_on_this_machine(server: str) -> None:
    with CocuClient(server) as client:
        client._transport._http.get("/healthz").raise_for_status()

    assert _Answers.asked == ["/healthz"]


@pytest.mark.usefixtures("environment")
def test_vectors_on_this_machine(server: str) -> None:
    vectors = Vectors.open(server, options=VectorOptions(prefer_grpc=False))
    vectors.check()
    vectors.close()

    assert _Answers.asked[-1] == "/readyz"


@pytest.mark.usefixtures("environment")
def test_bucket_on_this_machine(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)
    ObjectStore.open("s3://bucket/prefix", cache=tmp_path).put("a", b"x")

    assert any("prefix/a" in path for path in _Answers.asked)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, local: bool) -> None:
    assert proxies.is_loopback(host) is local


def test_grpc__goes_straight_to_this_machine_alone() -> None:
    assert proxies.grpc_options("127.0.0.1:8001") == {"grpc.enable_http_proxy": 0}
    assert proxies.grpc_options("[::1]:8001") == {"grpc.enable_http_proxy": 0}
    assert proxies.grpc_options("unix:/run/triton.sock") == {"grpc.enable_http_proxy": 0}
    assert proxies.grpc_options("triton:8001") == {}


def test_qdrant__its_grpc_goes_straight_to_this_machine() -> None:
    client: QdrantClient = connection._client_of("http://127.0.0.1:6333", VectorOptions(), 5.0)

    assert client._client._grpc_options["grpc.enable_http_proxy"] == 0  # type: ignore[attr-defined]


def test_elsewhere__goes_through_the_proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server)
    with CocuClient("http://platform.example.org:8000") as client:
        client._transport._http.get("/healthz").raise_for_status()

    assert _Answers.asked == ["http://platform.example.org:8000/healthz"]


@pytest.mark.parametrize(
    ("exceptions", "url", "through"),
    [
        ("example.org", "http://a.example.org", False),
        (".example.org", "http://a.example.org", False),
        ("example.org", "http://example.com", True),
        ("10.0.0.0/8", "http://10.1.2.3:80", False),
        ("10.0.0.0/8,::1/128", "http://11.1.2.3", True),
        ("fd00::/8", "http://[fd00::1]:8000", False),
        ("*", "http://example.com", False),
    ],
)
def test_no_proxy(exceptions: str, url: str, through: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("no_proxy", exceptions)

    assert proxies.proxy_for(url) == ("http://proxy:3128" if through else None)


@pytest.mark.parametrize(
    "proxy", ["socks://user:secret@proxy:1080", "ftp://proxy", "http://[::1", "http://proxy:port"]
)
def test_elsewhere__with_a_proxy_of_no_use_is_one_line(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(ConnectionFailedError, match="all_proxy names cannot be used for elsewhere") as caught:
        CocuClient("http://elsewhere:8000")
    with pytest.raises(UnavailableError, match="all_proxy"):
        Vectors.open("http://elsewhere:6333", options=VectorOptions())

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_elsewhere__without_the_certificates_that_are_named_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/cacert.pem")
    with pytest.raises(BadEnvironmentError, match="SSL_CERT_FILE names"):
        httpx.HTTPTransport(**proxies.http_options("https://elsewhere"))
