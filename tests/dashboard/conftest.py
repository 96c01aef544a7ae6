"""One platform for all tests of the pages, and viewers whose browser accepts no fault."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.browser import chromium, opened_browser
from playwright.sync_api import Browser, Page
from tests.dashboard import trainer
from tests.dashboard.shown_platform import Shown, show
from tests.dashboard.viewers import viewer
from tests.local_platform import running
from tests.servers.binaries import absent

from cocu.client import CocuClient
from cocu_training.service.server import training_service
from cocu_training.service.settings import ServiceSettings


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Shown]:
    """A platform with curated scenes, on which a stand-in has trained."""
    folder = tmp_path_factory.mktemp("pages")
    encoder = repository / "examples" / "encoders" / "scenes"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        training = "http://{}:{}".format(*listening.getsockname())
        with (
            running(folder / "data", encoder, training=training) as server,
            CocuClient(server.url) as client,
            training_service(trainer_settings(folder / "training", server.url, repository), listening),
        ):
            yield show(server, client, repository, folder, training=training)


def trainer_settings(folder: Path, platform: str, repository: Path) -> ServiceSettings:
    """Those of a training service whose trainer is a stand-in."""
    return ServiceSettings(
        data=folder,
        platform=platform,
        files=repository,
        command=(sys.executable, trainer.__file__),
        poll_seconds=0.05,
        stop_seconds=20.0,
    )


@pytest.fixture
def http(shown: Shown) -> Iterator[httpx.Client]:
    """A viewer without a browser: follows no redirect by itself."""
    with httpx.Client(base_url=shown.server.url, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file.

    Not for a session: while one is open, no other code of the thread can run an event loop.
    """
    if chromium() is None:
        absent("chromium is not installed; it comes with Debian's package chromium")
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def open_page(browser: Browser, shown: Shown) -> Iterator[Callable[..., Page]]:
    """Opens a window of a new viewer on a path of the platform; see `viewer`."""
    with ExitStack() as stack:

        def opened(path: str = "/", **options: Any) -> Page:
            page = stack.enter_context(viewer(browser, shown.server.url, **options))
            page.goto(path)
            return page

        yield opened
