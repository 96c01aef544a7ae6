"""A headless Chromium for pages: tests, pictures and measurements open the same one.

Playwright drives the Chromium of the system, Debian's package `chromium`; it downloads none of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, sync_playwright

__all__ = ["THEMES", "WIDTHS", "chromium", "new_context", "opened_browser"]

THEMES: Final = ("light", "dark")
WIDTHS: Final = (1440, 390)
"""Pixels of a desk and of a phone."""
_HEIGHTS: Final = {1440: 900, 390: 844}
_ARGUMENTS: Final = [
    # In a container Chromium's own sandbox has no user namespaces to work with.
    "--no-sandbox",
    "--disable-gpu",
    # It is to ask nobody but the platform.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


def chromium() -> Path | None:
    """The Chromium of this machine; None where it has none."""
    path = shutil.which("chromium")
    return Path(path) if path else None


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """A browser while the context lasts. Raises RuntimeError where there is no Chromium."""
    executable = chromium()
    if executable is None:
        raise RuntimeError("chromium is not installed; it comes with Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def new_context(
    browser: Browser, *, theme: str = "light", width: int = 1440, **options: Any
) -> BrowserContext:
    """A viewer of the browser: own cookies, a window of this width, the theme as the system's choice."""
    viewport = {"width": width, "height": _HEIGHTS.get(width, 900)}
    return browser.new_context(viewport=viewport, color_scheme=theme, **options)  # type: ignore[arg-type]
