"""Pages while the platform is killed and back, and while every request meets another replica."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.browser import new_context
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.dashboard.shown_platform import Shown, first_samples
from tests.dashboard.test_service import served
from tests.dashboard.viewers import PATIENCE_SECONDS, viewer

from cocu.client import CocuClient
from cocu.dashboard.proxy import METHODS
from cocu.dashboard.upstream import Upstream, passed_on
from cocu.http.server import HttpServer


@contextlib.contextmanager
def platform_process(data: Path, encoder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`cocu serve` as people run it, until it is killed or the context is left."""
    options = ["--port", str(port), "--data", str(data), "--encoder", str(encoder)]
    environment = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "cocu", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("cocu on ")
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("is_service", [False, True], ids=["beside the API", "a service of its own"])
def test_platform_is_killed__pages_stay_and_go_on_when_it_is_back(
    tmp_path: Path, repository: Path, browser: Browser, *, is_service: bool
) -> None:
    """Of a service there is an answer, 503 with a page; beside the API there is none."""
    encoder = repository / "examples" / "encoders" / "scenes"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    scenes = tmp_path / "scenes.tar"
    scenes.write_bytes(first_samples(repository / "examples" / "scenes" / "scenes-00000.tar", 24))
    pages = served(url) if is_service else contextlib.nullcontext(url)
    with pages as base, contextlib.closing(new_context(browser, base_url=base)) as context:
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        with platform_process(tmp_path / "data", encoder, port) as process:
            with CocuClient(url) as client:
                dataset = client.datasets.create("scenes").id
                client.datasets.upload(dataset, scenes)
                client.datasets.wait(dataset)
                curation = client.curations.wait(client.curations.create(dataset).id).id
            page.goto(f"/curations/{curation}/archives")
            cards = page.locator(".grid .card").count()
            assert cards == 24
            process.send_signal(signal.SIGKILL)
            process.wait()
        page.get_by_label("named by").select_option("added")
        expect(page.locator("#away")).to_contain_text("does not answer")
        assert page.locator(".grid .card").count() == cards
        with platform_process(tmp_path / "data", encoder, port):
            expect(page).to_have_url(re.compile("in=added"), timeout=1000 * PATIENCE_SECONDS)
            expect(page.locator(".chips .chip")).to_contain_text("added")
            expect(page.locator("#away")).to_be_hidden()
            address = page.url
            page.get_by_label("order").select_option("-gain")
            expect(page).to_have_url(re.compile("order=-gain"))
            # Nobody is led back to what failed before.
            page.wait_for_timeout(3_000)
            assert page.url != address


class RoundRobin:
    """Sends every request to the next of several services, as a load balancer without memory does."""

    def __init__(self, urls: list[str]) -> None:
        self.requests: Counter[str] = Counter()
        self._turns = itertools.cycle([(url, Upstream(url, seconds=None)) for url in urls])

    async def pass_on(self, request: Request) -> Response:
        """The answer of the one whose turn it is. Host and Origin stay those of the browser."""
        url, target = next(self._turns)
        self.requests[url] += 1
        path = request.scope["raw_path"] + _query(request)
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        answer = await target.send(
            request.method, path, request.headers.raw, request.stream() if has_body else None
        )
        of_a_connection = {b"connection", b"transfer-encoding"}
        return passed_on(
            answer, [pair for pair in answer.headers.raw if pair[0].lower() not in of_a_connection]
        )


def _query(request: Request) -> bytes:
    query: bytes = request.scope["query_string"]
    return b"?" + query if query else b""


@contextlib.contextmanager
def balanced(urls: list[str]) -> Iterator[tuple[str, RoundRobin]]:
    """A front door for several services; its URL."""
    balancer = RoundRobin(urls)
    app = Starlette(routes=[Route("/{path:path}", balancer.pass_on, methods=METHODS)])
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        HttpServer(
            app, listening, stopping=threading.Event(), head_seconds=10, idle_seconds=10, max_connections=64
        ) as server,
    ):
        yield server.url, balancer


def test_two_replicas__no_step_needs_the_one_before(shown: Shown, browser: Browser) -> None:
    requests = walk_through_two_replicas(shown, browser)
    assert len(requests) == 2
    assert min(requests.values()) > 20


def walk_through_two_replicas(shown: Shown, browser: Browser) -> Counter[str]:
    """How many requests each had."""
    with (
        served(shown.server.url) as first,
        served(shown.server.url) as second,
        balanced([first, second]) as (url, balancer),
        viewer(browser, url) as page,
    ):
        page.goto("/settings")
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.goto(shown.grid)
        page.get_by_label("named by").select_option("added")
        expect(page).to_have_url(re.compile("in=added"))
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_label("Most frequent concepts here").get_by_role("link").first.click()
        expect(page.locator(".chips .chip")).to_have_count(2)
        page.locator(".grid .card").first.click()
        expect(page.locator(".concept-row")).not_to_have_count(0)
        before = page.url
        page.keyboard.press("j")
        page.wait_for_url(lambda now: now != before)
        page.go_back()
        expect(page).to_have_url(before)
        page.goto(f"/search?dataset={shown.dataset.id}&text=a+dog")
        expect(page.locator(".grid .card")).not_to_have_count(0)
    return balancer.requests
