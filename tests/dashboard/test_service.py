"""The dashboard as a service of its own: its pages, and the API that it passes on."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from tests.dashboard.shown_platform import Shown
from tests.local_platform import tar_of_samples

from cocu.client import CocuClient
from cocu.dashboard import DashboardOptions, create_dashboard
from cocu.http.server import HttpServer


@contextmanager
def served(platform: str, **options: Any) -> Iterator[str]:
    """The dashboard of a platform as a service; its URL."""
    app = create_dashboard(
        lambda: CocuClient(platform, retries=0),
        DashboardOptions(documentation=None, platform=platform, **options),
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        HttpServer(
            app, listening, stopping=threading.Event(), head_seconds=10, idle_seconds=10, max_connections=64
        ) as server,
    ):
        yield server.url


@pytest.fixture(scope="module")
def service(shown: Shown) -> Iterator[str]:
    with served(shown.server.url, hosts=("pages.example",), training=shown.training) as url:
        yield url


def test_pages__are_those_beside_the_api(shown: Shown, service: str) -> None:
    """But for the link to the documentation of the API, which the service does not have."""
    for path in ("/", f"/curations/{shown.curation.id}/archives", "/settings"):
        pages = [httpx.get(f"{url}{path}", timeout=60).text for url in (shown.server.url, service)]
        without_ages = [
            re.sub(r"<time.*?</time>|<a href=\"[./]*docs\">API</a>|\s", "", page) for page in pages
        ]
        assert without_ages[0] == without_ages[1]


@pytest.mark.slow
def test_everything_on_a_page__comes_from_the_service(shown: Shown, service: str) -> None:
    page = f"{service}/curations/{shown.curation.id}/archives"
    references = re.findall(r'(?:href|src)="([^"#]+)"', httpx.get(page, timeout=60).text)
    assert any("/v1/" in reference for reference in references)
    for reference in dict.fromkeys(references):
        answer = httpx.get(urljoin(page, reference.replace("&amp;", "&")), timeout=60)
        assert (answer.status_code, reference) == (200, reference)


def test_uploads_and_changes__of_its_own_pages_are_passed_on(service: str) -> None:
    with httpx.Client(base_url=service, headers={"Origin": service}, timeout=60) as browser:
        dataset = browser.post("/v1/datasets", json={"name": "sent through the service"}).json()["id"]
        data = tar_of_samples({"a/b%2F": "a dog", "c": "a cat"})
        sent = browser.put(f"/v1/datasets/{dataset}/uploads/two.tar", content=data)
        assert sent.status_code in {200, 201, 202}
        assert browser.delete(f"/v1/datasets/{dataset}").is_success


def test_pages_of_other_sites__change_nothing(service: str) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        answer = httpx.post(f"{service}/v1/datasets", json={"name": "x"}, headers=headers)
        assert answer.status_code in {403, 421}
    assert httpx.get(f"{service}/healthz", headers={"Host": "pages.example"}).status_code == 200


def test_a_cookie_of_the_platform__is_never_sent_for_another_viewer() -> None:
    class Remembers(BaseHTTPRequestHandler):
        """Gives a cookie to everybody, and says which came."""

        def do_GET(self) -> None:
            body = self.headers.get("Cookie", "none").encode()
            self.send_response(200)
            self.send_header("Set-Cookie", "viewer=first; Path=/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Remembers) as platform:
        threading.Thread(target=platform.serve_forever, daemon=True).start()
        with served(f"http://127.0.0.1:{platform.server_port}") as url:
            first, second = (httpx.get(f"{url}/v1/anything", timeout=60) for _ in range(2))
        platform.shutdown()
    assert first.headers["set-cookie"] == "viewer=first; Path=/"
    assert (first.text, second.text) == ("none", "none")


def test_a_wrong_proxy_in_the_environment__is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy.example")
    with served("http://platform.example") as url:
        for _ in range(2):
            answer = httpx.get(f"{url}/v1/datasets", timeout=60, trust_env=False)
            assert answer.status_code == 502
            assert "HTTP_PROXY" in answer.json()["detail"]


def test_a_platform_that_is_away__is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    away = f"http://127.0.0.1:{port}"
    with served(away) as url:
        page = httpx.get(f"{url}/", timeout=60)
        assert page.status_code == 503
        assert "does not answer" in page.text
        assert httpx.get(f"{url}/v1/datasets", timeout=60).status_code == 502
