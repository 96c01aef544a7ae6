"""Captions, keys, names and concepts as attackers write them: shown as they are, inert, within the page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import HOSTILE_CAPTIONS, HOSTILE_CONCEPTS, HOSTILE_NAME, Shown
from tests.dashboard.viewers import overflow

from cocu.dashboard.links import ArchiveQuery


def paths(shown: Shown) -> list[str]:
    """Every page on which hostile texts stand."""
    dataset, curation = f"/datasets/{shown.hostile_dataset.id}", f"/curations/{shown.hostile.id}"
    tabs = [f"{dataset}?tab={tab}" for tab in ("report", "uploads", "curations")]
    grids = [ArchiveQuery(concepts=(name,)).grid(shown.hostile.id) for name in HOSTILE_CONCEPTS]
    archives = [ArchiveQuery().archive(shown.hostile.id, key) for key in shown_keys(shown)]
    return ["/", dataset, *tabs, curation, f"{curation}/archives", *grids, *archives]


def shown_keys(shown: Shown) -> list[str]:
    return [card.key for card in shown.client.archives.cards(shown.hostile.id)]


def plain(text: str) -> str:
    return " ".join(text.split())


def test_keys_and_captions__came_in_whole(shown: Shown) -> None:
    """What the tests below are about is on the platform at all; one path that climbs was passed over."""
    assert set(shown_keys(shown)) == HOSTILE_CAPTIONS.keys() - {"..%2f..%2fetc"}


def test_hostile_texts__stand_on_pages_as_text(shown: Shown, http: httpx.Client) -> None:
    for path in paths(shown):
        answer = http.get(path)
        assert answer.status_code == 200, path
        page = PageDocument(answer.text)
        assert page.code == [], path
        assert len(page.all("h1")) == 1
        assert (page.misplaced, page.unclosed) == ([], []), path
        assert all(not image.attributes["src"].startswith("x") for image in page.all("img"))
    grid = PageDocument(http.get(f"/curations/{shown.hostile.id}/archives").text)
    captions = {element.text for element in grid.all("span", class_="caption")}
    assert captions == {plain(HOSTILE_CAPTIONS[key]) for key in shown_keys(shown)}
    assert plain(HOSTILE_NAME) in {element.text for element in PageDocument(http.get("/").text).all("bdi")}


def test_hostile_keys__lead_to_their_archives(shown: Shown, http: httpx.Client) -> None:
    grid = http.get(f"/curations/{shown.hostile.id}/archives")
    cards = PageDocument(grid.text).all("a", class_="card")
    assert len(cards) == len(shown_keys(shown))
    for card, key in zip(cards, shown_keys(shown), strict=True):
        answer = http.get(urljoin(str(grid.url), card.attributes["href"]))
        page = PageDocument(answer.text)
        assert page.first("h1").text == plain(key)
        assert page.first("p", class_="own-caption").text == plain(HOSTILE_CAPTIONS[key])
        # References climb from the page to the root: a slash of a key must not be one of the path.
        for image in page.all("img")[:2]:
            assert http.get(urljoin(str(answer.url), image.attributes["src"])).status_code == 200


def test_texts_of_two_directions__are_kept_apart(shown: Shown, http: httpx.Client) -> None:
    """An override in a caption must not turn around what stands beside it."""
    page = PageDocument(http.get(ArchiveQuery().archive(shown.hostile.id, "right-to-left")).text)
    holders = [e for e in page.elements if "\u202e" in "".join(e.pieces) and e.tag == "bdi"]
    assert holders
    for element in page.elements:
        if "\u202e" in "".join(element.pieces) and element.tag not in {"html", "body", "main"}:
            inside = [holder for holder in holders if element in holder.around or holder is element]
            assert inside or any(holder in element.around for holder in holders), element.tag


@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), 390])
def test_hostile_texts__do_nothing_and_break_no_page(
    shown: Shown, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page("/", width=width)
    # A phone is where a page is too narrow; of the others, some.
    for path in paths(shown)[:: 1 if width < 500 else 5]:
        page.goto(path)
        assert overflow(page) <= 0, path
        assert page.locator("h1").count() == 1
    for name in HOSTILE_CONCEPTS[:4]:
        page.goto(f"/curations/{shown.hostile.id}/archives")
        page.get_by_label("has concept").fill(name)
        page.get_by_label("has concept").press("Enter")
        expect(page.locator(".chips .chip bdi")).to_have_text(name)


@pytest.mark.slow
def test_hostile_concepts__light_and_lead_like_others(shown: Shown, open_page: Callable[..., Page]) -> None:
    page = open_page(ArchiveQuery().archive(shown.hostile.id, "javascript:alert(7)"))
    for row in page.locator(".concept-row[data-concept]").all():
        row.hover()
        expect(page.locator(".concept-row.is-lit").first).to_be_visible()
    names = page.locator(".concept-row[data-concept] bdi").all_inner_texts()
    known = {concept.name for concept in shown.client.vocabularies.concepts(shown.hostile.vocabulary)}
    assert set(names) <= known
    page.locator(".concept-row[data-concept] a.name").first.click()
    expect(page.locator("h1")).to_have_text(names[0])
