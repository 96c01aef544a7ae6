"""Pages and a training service, or a platform, that is away, silent, another one, or asks for a key."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from tests.dashboard.conftest import trainer_settings
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown, trained
from tests.dashboard.test_pages import page_at
from tests.dashboard.test_service import served

from cocu.client import TrainingClient
from cocu_training.service.keys import create_key
from cocu_training.service.server import training_service

NOT_KNOWN = "trained: not known, the training service does not answer"


@contextmanager
def silence() -> Iterator[tuple[str, socket.socket]]:
    """The URL of a server that accepts connections and says nothing, and its socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        yield "http://{}:{}".format(*silent.getsockname()), silent


def connections(silent: socket.socket) -> int:
    """How many connections a silent server was asked for."""
    silent.setblocking(False)
    count = 0
    try:
        while True:
            silent.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def test_a_service_that_is_away__is_told_and_takes_nothing_else_along(shown: Shown) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = "http://{}:{}".format(*probe.getsockname())
    with served(shown.server.url, training=away) as url, httpx.Client(base_url=url, timeout=60) as http:
        for path in ("/training", f"/training/runs/{shown.run}"):
            page = page_at(http, path, status=503)
            assert page.first("h1").text == "The training service does not answer"
            assert any(link.text == "Try again" for link in page.all("a"))
        assert http.post(f"/training/runs/{shown.run}/stop").status_code == 503
        assert http.get(f"/training/runs/{shown.run}/files/previews/x.png").status_code == 502
        assert NOT_KNOWN in page_at(http, f"/curations/{shown.curation.id}").first("main").text


def test_a_service_that_says_nothing__does_not_hold_up_curations(shown: Shown) -> None:
    with (
        silence() as (training, _),
        served(shown.server.url, training=training) as url,
        # Shorter than the patience of the page about runs.
        httpx.Client(base_url=url, timeout=12) as http,
    ):
        page = page_at(http, f"/curations/{shown.curation.id}")
        assert NOT_KNOWN in page.first("main").text


def test_keys__are_the_dashboards_and_never_the_browsers(
    shown: Shown, tmp_path: Path, repository: Path
) -> None:
    settings = trainer_settings(tmp_path, shown.server.url, repository)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        training_service(settings, listening) as service,
    ):
        key = create_key(settings.keys_file)
        with TrainingClient(service, key) as client:
            run = trained(client, shown.curation.id, steps=10, name="locked", seed=0)
        with (
            served(shown.server.url, training=service) as url,
            httpx.Client(base_url=url, timeout=60) as http,
        ):
            assert "asks for a key" in page_at(http, "/training", status=502).first("h1").text
        with (
            served(shown.server.url, training=service, training_key=key) as url,
            httpx.Client(base_url=url, timeout=60) as http,
        ):
            assert "locked" in page_at(http, "/training").first("main").text
            page = http.get(f"/training/runs/{run}")
            assert key not in page.text
            (source, *_) = [image.attributes["src"] for image in PageDocument(page.text).all("img")]
            assert http.get(urljoin(str(page.url), source)).status_code == 200


def test_pages_of_curations__do_not_queue_behind_a_silent_service(shown: Shown) -> None:
    """However many ask at once, none waits for the others, nor does any other page."""
    with (
        silence() as (training, _),
        served(shown.server.url, training=training) as url,
        httpx.Client(base_url=url, timeout=60) as http,
        ThreadPoolExecutor(20) as viewers,
    ):
        pages = [viewers.submit(http.get, f"/curations/{shown.curation.id}") for _ in range(20)]
        assert all(NOT_KNOWN in page.result().text for page in pages)
        assert http.get("/").status_code == 200


def test_a_silent_platform__is_asked_once_for_all_titles(shown: Shown) -> None:
    with (
        silence() as (platform, silent),
        served(platform, training=shown.training) as url,
        # Shorter than the patience of the dashboard with its platform.
        httpx.Client(base_url=url, timeout=20) as http,
    ):
        page = page_at(http, "/training")
        assert "first" in page.first("main").text
        assert "Curation" in page.first("h2").text
        assert page_at(http, f"/training/runs/{shown.run}").first("h1").text == "Run first"
        assert connections(silent) == 2


@pytest.mark.parametrize("another", ["the platform", "nothing of ours"])
def test_another_service__is_told_apart(shown: Shown, another: str) -> None:
    training = shown.server.url if another == "the platform" else f"{shown.server.url}/docs"
    with served(shown.server.url, training=training) as url, httpx.Client(base_url=url, timeout=60) as http:
        page = page_at(http, "/training", status=502)
        assert page.first("h1").text == "The training service answers something unexpected"
        assert "COCU_TRAINING" in page.first("div", class_="problem").text
        text = page_at(http, f"/curations/{shown.curation.id}").first("main").text
        assert "trained: not known, the training service answers something unexpected" in text
