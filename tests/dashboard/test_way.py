"""The way through the pages in a browser: from the overview to one archive, why it is so, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.dashboard.shown_platform import NAME, Shown
from tests.dashboard.viewers import overflow

OpenPage = Callable[..., Page]


def total(page: Page) -> int:
    return int(page.locator("#total").inner_text().split(" of ")[0].replace("\u202f", ""))


def keys(page: Page) -> list[str]:
    """The archives of the grid, as its links name them."""
    return [
        urlsplit(link).path.rsplit("/", 1)[1]
        for link in page.locator(".grid .card").evaluate_all("cards => cards.map(card => card.href)")
    ]


def shows(page: Page) -> str:
    """What a page shows, without what depends on the time or on where the pointer is."""
    return re.sub(r"\d+\u202f(?:min|h|d) ago|just now", "", page.locator("main").inner_text())


def test_the_question_mark_leads_to_the_list_of_keys(shown: Shown, open_page: Callable[..., Page]) -> None:
    page = open_page(f"/vocabularies/{shown.curation.vocabulary}")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()


def test_the_way_from_the_overview_to_an_archive_and_back(shown: Shown, open_page: OpenPage) -> None:
    page = open_page("/")
    steps: list[tuple[str, str]] = []

    def arrived(heading: str | re.Pattern[str]) -> None:
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        page.wait_for_load_state()
        before = shows(page)
        page.reload()
        assert shows(page) == before, page.url
        steps.append((page.url, before))

    arrived("Overview")
    page.get_by_role("link", name=NAME, exact=True).first.click()
    arrived(NAME)
    page.get_by_role("link", name="Curations").click()
    page.get_by_role("link", name=shown.curation.id).click()
    arrived(re.compile(f"{NAME}.*{shown.curation.id[:8]}"))
    page.get_by_role("link", name="Archives", exact=True).click()
    assert total(page) == shown.curation.samples
    arrived("Archives")

    page.get_by_label("named by").select_option("added")
    expect(page).to_have_url(re.compile(r"in=added"))
    expect(page.locator(".chips .chip")).to_contain_text("added")
    arrived("Archives")
    facet = page.get_by_label("Most frequent concepts here").get_by_role("link").first
    name, archives = re.fullmatch(r"(.+)\s+(\d+)", facet.inner_text().strip()).groups()  # type: ignore[union-attr]
    facet.click()
    expect(page.locator(".chips .chip").first).to_contain_text(name)
    assert 0 < total(page) <= int(archives)
    assert parse_qs(urlsplit(page.url).query)["concept"] == [name]
    arrived("Archives")

    if page.locator("a[rel=next]").count():
        first_page = keys(page)
        page.locator("a[rel=next]").click()
        page.wait_for_url(re.compile("after="))
        assert not set(first_page) & set(keys(page))
        arrived("Archives")
    key = keys(page)[0]
    page.locator(".grid .card").first.click()
    arrived(key)
    expect(page.locator(f'.concept-row[data-concept="{name}"]')).to_have_count(1)

    for (_, _), (url, before) in zip(steps[:0:-1], steps[-2::-1], strict=True):
        for _ in range(3):
            page.go_back()
            if page.url == url:
                break
        assert page.url == url
        # The address is there before the page: htmx asks for it again.
        for _ in range(100):
            if shows(page) == before:
                break
            page.wait_for_timeout(100)
        assert shows(page) == before


def test_grid__filters_without_a_reload_and_is_a_link(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.grid)
    page.evaluate("() => { document.documentElement.dataset.unchanged = 'yes'; }")
    page.get_by_label("has concept").fill("dog")
    page.get_by_label("has concept").press("Enter")
    expect(page.locator(".chips .chip")).to_have_text(re.compile("dog"))
    assert page.locator("html[data-unchanged]").count() == 1
    assert parse_qs(urlsplit(page.url).query)["concept"] == ["dog"]
    shared = open_page(page.url)
    assert keys(shared) == keys(page)
    assert total(shared) == total(page)
    page.locator(".chips .chip").click()
    expect(page.locator(".chips")).to_have_count(0)
    assert total(page) == shown.curation.samples
    page.go_back()
    expect(page.locator(".chips .chip")).to_have_text(re.compile("dog"))


def test_grid__says_what_is_wrong_with_a_filter(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.grid)
    page.get_by_label("has concept").fill("no such thing")
    page.get_by_label("has concept").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no such concept")
    expect(page.get_by_label("has concept")).to_be_visible()
    page.get_by_role("link", name=re.compile("no such thing")).click()
    expect(page.locator(".grid .card").first).to_be_visible()


def test_grid__pages_hold_every_archive_once(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.grid}?order=-gain")
    seen = keys(page)
    while page.locator("a[rel=next]").count():
        page.locator("a[rel=next]").click()
        page.wait_for_url(re.compile("after="))
        fresh = keys(page)
        assert not set(fresh) & set(seen)
        seen += fresh
    assert len(seen) == shown.curation.samples
    page.get_by_role("link", name="first page").click()
    page.wait_for_url(lambda url: "after=" not in url)
    assert keys(page) == seen[:60]


def test_inspector__moves_through_the_list_by_keys(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.grid}?order=-gain")
    listed = keys(page)
    page.locator(".grid .card").first.click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(listed[0])
    for pressed, place in (("j", 1), ("j", 2), ("k", 1), ("K", 0)):
        page.wait_for_load_state()  # the module of the keys runs after the heading is there
        page.keyboard.press(pressed)
        expect(heading).to_have_text(listed[place])
        expect(page.locator(".steps")).to_contain_text(f"{place + 1} of {shown.curation.samples}")
    page.wait_for_load_state()
    page.keyboard.press("k")
    page.keyboard.press("Control+j")
    expect(heading).to_have_text(listed[0])
    page.go_back()
    expect(heading).to_have_text(listed[1])
    page.wait_for_load_state()
    page.keyboard.press("u")
    expect(heading).to_have_text("Archives")
    assert "order=-gain" in page.url


def lit(page: Page, parts: str) -> list[int]:
    """Places of the rows or neighbours that are lit."""
    classes = page.locator(parts).evaluate_all("parts => parts.map(part => part.className)")
    return [place for place, names in enumerate(classes) if "is-lit" in names.split()]


def named_by(row: Locator) -> list[int]:
    return [int(place) for place in (row.get_attribute("data-neighbours") or "").split()]


def test_inspector__lights_why_a_concept_is_there_and_what_a_neighbour_gave(
    shown: Shown, open_page: OpenPage
) -> None:
    page = open_page(shown.kinds["inspector"])
    rows, neighbours = page.locator(".concept-row[data-concept]"), page.locator(".neighbour")
    row = next(row for row in rows.all() if named_by(row))
    expected = sorted(named_by(row))

    row.hover()
    expect(row).to_have_class(re.compile("is-lit"))
    assert lit(page, ".neighbour") == expected
    expect(page.locator(".neighbour.is-dim")).to_have_count(neighbours.count() - len(expected))
    marked = page.locator("mark.is-marked")
    assert set(marked.evaluate_all("marks => marks.map(mark => mark.dataset.concept)")) == {
        row.get_attribute("data-concept")
    }
    assert {int(mark.evaluate("m => m.closest('.neighbour').dataset.index")) for mark in marked.all()} <= set(
        expected
    )

    neighbour = neighbours.nth(expected[0])
    neighbour.hover()
    expect(neighbour).to_have_class(re.compile("is-lit"))
    assert lit(page, ".concept-row[data-concept]") == [
        place for place, other in enumerate(rows.all()) if expected[0] in named_by(other)
    ]

    page.mouse.move(2, 2)
    expect(page.locator(".is-lit, .is-dim, .is-marked")).to_have_count(0)


def test_inspector__keeps_what_is_pinned(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.kinds["inspector"])
    row = next(row for row in page.locator(".concept-row[data-concept]").all() if named_by(row))
    row.focus()
    page.keyboard.press("Space")
    page.get_by_role("link", name="Settings").focus()
    expect(row).to_have_class(re.compile("is-lit"))
    assert lit(page, ".neighbour") == sorted(named_by(row))
    row.focus()
    page.keyboard.press("Escape")
    expect(page.locator(".is-lit")).to_have_count(0)


def test_inspector__draws_again_without_a_reload(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.kinds["inspector"])
    page.evaluate("() => { document.documentElement.dataset.unchanged = 'yes'; }")
    draws = page.locator("#draws")
    for seed in (1, 2):
        page.keyboard.press("r")
        expect(draws).to_contain_text(f"seed {seed} ")
    assert page.locator("html[data-unchanged]").count() == 1
    assert parse_qs(urlsplit(page.url).query)["seed"] == ["2"]
    key = urlsplit(page.url).path.rsplit("/", 1)[1]
    drawn = shown.client.archives.draws(shown.curation.id, key, seed=2, epochs=5)
    shown_epochs = [
        [chip.inner_text() for chip in epoch.locator(".chip").all()] for epoch in draws.locator("tr").all()
    ]
    assert shown_epochs == [epoch.concepts for epoch in drawn.epochs]
    page.reload()
    expect(draws).to_contain_text("seed 2 ")


def test_without_javascript__pages_are_read_and_forms_work(shown: Shown, open_page: OpenPage) -> None:
    page = open_page("/", java_script_enabled=False)
    page.get_by_role("link", name="archives", exact=True).last.click()
    expect(page.locator(".grid .card").first).to_be_visible()
    page.goto(shown.grid)
    page.get_by_label("has concept").fill("dog")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".chips .chip")).to_have_text(re.compile("dog"))
    page.locator(".grid .card").first.click()
    expect(page.locator('.concept-row[data-concept="dog"]')).to_be_visible()
    expect(page.locator(".own-caption")).not_to_be_empty()
    page.get_by_role("link", name="Draw again").click()
    expect(page.locator("#draws")).to_contain_text("seed 1 ")
    page.goto("/settings")
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_by_keyboard_alone(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.grid}?order=-gain")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    cards = page.locator(".grid .card")
    for pressed, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0)):
        page.keyboard.press(pressed)
        expect(cards.nth(place)).to_be_focused()
    page.keyboard.press("ArrowDown")
    below = cards.evaluate_all("cards => cards.findIndex(card => card.offsetTop > cards[0].offsetTop)")
    expect(cards.nth(below)).to_be_focused()
    heading = page.get_by_role("heading", level=1)
    key = keys(page)[below]
    page.keyboard.press("Enter")
    expect(heading).to_have_text(key)
    page.wait_for_load_state()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator(".concept-row[data-concept]:focus").count():
            break
    expect(page.locator(".concept-row[data-concept]:focus")).to_have_class(re.compile("is-lit"))
    page.keyboard.press("r")
    expect(page.locator("#draws")).to_contain_text("seed 1 ")


def test_keys__rest_while_text_is_edited(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.grid)
    field = page.get_by_label("has concept")
    field.click()
    page.keyboard.type("jkru")
    expect(field).to_have_value("jkru")
    page.keyboard.press("ArrowLeft")
    expect(field).to_be_focused()
    assert page.url.endswith(shown.grid)


@pytest.mark.slow
def test_pages__fit_a_phone(shown: Shown, open_page: OpenPage) -> None:
    page = open_page("/", width=390)
    for name, path in shown.kinds.items():
        page.goto(path)
        assert overflow(page) <= 0, name
