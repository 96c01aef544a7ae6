"""Viewers: windows of a browser in which nothing may go wrong unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.browser import new_context
from playwright.sync_api import Browser, Page, expect

Faults = list[str]
PATIENCE_SECONDS = 60
"""How long a browser is waited for: on a busy machine a page takes its time."""


@contextmanager
def viewer(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A window of a viewer of its own; paths are those of the platform at `url`.

    Leaving the context fails for every error or warning on the console, error of a script, request to another
    host, and answer that is the server's fault.
    """
    context = new_context(browser, base_url=url, **options)
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    expect.set_options(timeout=1000 * PATIENCE_SECONDS)
    page = context.new_page()
    faults: Faults = []
    host = urlsplit(url).netloc
    page.on("console", lambda message: _note_console(faults, message.type, message.text))
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    context.on("request", lambda request: _note_request(faults, host, request.url))
    context.on(
        "response",
        lambda answer: faults.append(f"{answer.status} {answer.url}") if answer.status >= 500 else None,
    )
    try:
        yield page
        assert faults == []
    finally:
        context.close()


# Without a graphics card Chromium reads every frame of WebGL back, and its driver warns that this is slow.
SOFTWARE_WEBGL = "GPU stall due to ReadPixels"


def _note_console(faults: Faults, kind: str, text: str) -> None:
    if kind in {"error", "warning"} and SOFTWARE_WEBGL not in text:
        faults.append(f"console: {text}")


def _note_request(faults: Faults, host: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != host:
        faults.append(f"request to another host: {url}")


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    width: int = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return width
