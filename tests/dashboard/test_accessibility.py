"""axe finds nothing serious on any page, in both themes, at the width of a desk and of a phone."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from benchmarks.browser import THEMES, WIDTHS
from playwright.sync_api import Page
from tests.dashboard.shown_platform import Shown

ALL = [(theme, width) for theme in THEMES for width in WIDTHS]
VIEWS = ALL if os.environ.get("COCU_TEST_PAGES") == "all" else [("dark", 390)]
"""Every theme and every width, unless all of their pairs are asked for (`make test-pages`)."""
OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"],
}


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical: the rule, and the first elements that break it."""
    violations = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{violation['id']}: {[node['html'][:160] for node in violation['nodes'][:3]]}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize(("theme", "width"), VIEWS)
def test_pages__have_no_serious_finding(
    shown: Shown, open_page: Callable[..., Page], theme: str, width: int
) -> None:
    page = open_page("/", theme=theme, width=width)
    found = {}
    for name, path in shown.kinds.items():
        page.goto(path)
        found[name] = findings(page)
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_inspector__has_none_while_a_concept_is_lit(shown: Shown, open_page: Callable[..., Page]) -> None:
    page = open_page(shown.kinds["inspector"])
    page.locator(".concept-row[data-concept]").first.focus()
    assert page.locator(".is-lit").count()
    assert findings(page) == []
