"""The map in a browser: all points are drawn, and what is coloured, selected and moved stands in the URL."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from tests.dashboard.shown_platform import Shown
from tests.dashboard.test_accessibility import findings
from tests.dashboard.viewers import overflow

pytestmark = pytest.mark.slow

OpenPage = Callable[..., Page]
Place = tuple[float, float]
HEART: list[Place] = [(0.3, 0.2), (0.7, 0.25), (0.8, 0.6), (0.5, 0.9), (0.2, 0.6)]


def opened(open_page: OpenPage, shown: Shown, query: str = "", **options: object) -> Page:
    """The map, drawn."""
    page = open_page(f"{shown.kinds['map']}{query}", **options)
    wait_until_drawn(page, shown)
    return page


def wait_until_drawn(page: Page, shown: Shown) -> None:
    expect(page.locator('#map[data-state="ready"]')).to_have_attribute(
        "data-drawn", str(shown.curation.samples)
    )


def drag(page: Page, places: list[Place]) -> None:
    """Drag over the map; places are shares of its width and height."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def number(locator: Locator) -> int:
    return int(locator.inner_text().replace("\u202f", ""))


def selected(page: Page) -> int:
    """How many points the script selected; the platform has counted the same."""
    expect(page.locator("#selected-total")).to_be_visible()
    count = int(page.locator("#map").get_attribute("data-selected") or "-1")
    expect(page.locator("#selected-total")).to_have_text(str(count))
    return count


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_map__draws_every_picture_in_colours(shown: Shown, open_page: OpenPage) -> None:
    for theme in ("light", "dark"):
        page = opened(open_page, shown, theme=theme)
        assert page.locator("#map").get_attribute("data-count") == str(shown.curation.samples)
        picture = Image.open(io.BytesIO(page.locator("#map canvas").screenshot())).convert("RGB")
        colours = picture.getcolors(1 << 24)
        assert colours is not None
        many = [colour for count, colour in colours if count >= 20]
        assert len(many) >= 6, "points of several regions stand out from the ground"
        expect(page.locator(".map-names .is-shown").first).to_be_visible()
        expect(page.locator("#regions [data-gain]").first).to_have_text(re.compile(r"^\+\d"))
        assert overflow(page) == 0


def test_lasso__counts_what_the_platform_counts_and_leads_to_the_grid(
    shown: Shown, open_page: OpenPage
) -> None:
    page = opened(open_page, shown)
    page.get_by_role("button", name="Lasso").click()
    drag(page, HEART)
    expect(page.locator("#count")).to_contain_text("selected of")
    count = selected(page)
    assert 0 < count < shown.curation.samples
    (lasso,) = query_of(page)["lasso"]
    assert len(base64.urlsafe_b64decode(lasso + "==")) // 4 <= 64
    expect(page.locator("#map")).to_have_attribute("data-mode", "move")
    assert findings(page) == []

    page.get_by_role("link", name="As grid").click()
    expect(page.locator("#total")).to_have_text(f"{count} of {shown.curation.samples}")
    expect(page.locator(".chips")).to_contain_text("lasso on the map")
    page.get_by_label("named by").select_option("added")
    expect(page.locator(".chips")).to_contain_text("added")
    expect(page.locator(".chips")).to_contain_text("lasso on the map")
    page.locator("#to-map").click()
    wait_until_drawn(page, shown)
    assert selected(page) == count


def test_steps__come_back_by_reload_and_by_back(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    page.locator("#color").select_option("gain")
    expect(page.locator("#map")).to_have_attribute("data-color", "gain")
    page.keyboard.press("b")
    drag(page, [(0.25, 0.25), (0.75, 0.75)])
    box = selected(page)
    page.get_by_role("button", name="Zoom in").click()
    expect(page).to_have_url(re.compile("view="))
    before = page.url
    page.reload()
    wait_until_drawn(page, shown)
    assert page.url == before
    assert selected(page) == box
    expect(page.locator("#map")).to_have_attribute("data-color", "gain")

    page.keyboard.press("Escape")
    expect(page.locator("#selected-total")).to_have_count(0)
    assert "lasso" not in query_of(page)
    page.go_back()
    assert selected(page) == box
    page.go_back()
    expect(page.locator("#map")).to_have_attribute("data-selected", "")
    expect(page.locator("#map")).to_have_attribute("data-color", "gain")
    page.go_back()
    expect(page.locator("#map")).to_have_attribute("data-color", "region")
    assert query_of(page) == {}
    wait_until_drawn(page, shown)


def test_keys__step_through_regions_and_select_one(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "map":
            break
    expect(page.locator("#map")).to_be_focused()
    rows = page.locator("#regions tbody tr")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#live")).to_contain_text(rows.nth(0).locator(".name").inner_text())
    page.keyboard.press("ArrowRight")
    expect(page.locator("#live")).to_contain_text(rows.nth(1).locator(".name").inner_text())
    expect(page.locator(".map-names .is-current")).to_have_count(1)
    page.keyboard.press("Enter")
    assert selected(page) == number(rows.nth(1).locator("td").nth(2))
    assert query_of(page)["region"] == [rows.nth(1).get_attribute("data-region")]
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#map")).to_have_attribute("data-selected", "")
    page.keyboard.press("l")
    expect(page.locator("#map")).to_have_attribute("data-mode", "lasso")
    page.keyboard.press("Escape")
    expect(page.locator("#map")).to_have_attribute("data-mode", "move")


def test_legend__hides_what_is_pressed_and_says_so(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    first = page.locator("#regions tbody tr").first
    pictures = number(first.locator("td").nth(2))
    first.locator("[data-entry]").click()
    expect(page.locator("#map")).to_have_attribute("data-hidden", str(pictures))
    expect(page.locator("#count")).to_contain_text(f"{pictures} of them hidden")
    expect(first.locator("[data-entry]")).to_have_attribute("aria-pressed", "false")
    first.locator("[data-entry]").click()
    expect(page.locator("#map")).to_have_attribute("data-hidden", "0")

    page.locator("#color").select_option("gain")
    entries = page.locator("#legend button")
    expect(entries.first).to_be_visible()
    counts = [number(entry.locator(".muted")) for entry in entries.all()]
    assert sum(counts) == shown.curation.samples
    assert findings(page) == []


def test_concept__colours_its_pictures_as_the_files_say(shown: Shown, open_page: OpenPage) -> None:
    concept = next(shown.client.concepts.list(shown.curation.id, order="added", limit=1))
    page = opened(open_page, shown, f"?color=concept:{concept.concept}")
    expect(page.locator("#map")).to_have_attribute("data-color", f"concept:{concept.concept}")
    added = page.locator("#legend button", has_text="added").locator(".muted")
    assert number(added) == concept.added
    page.get_by_label("or concept").fill("no such thing at all")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("div.hint[role=status]").first).to_contain_text("no such thing at all")
    expect(page.locator("#map")).to_have_attribute("data-color", "region")


def test_point__shows_its_picture_and_opens_its_archive(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    newest = next(shown.client.projections.list(shown.dataset.id))
    points = shown.client.projections.points(shown.dataset.id, newest.id)
    # The point that lies farthest from all others is alone below the pointer.
    places = np.stack([points["x"], points["y"]], axis=1).astype(float)
    nearest = np.array([np.sort(np.hypot(*(places - place).T))[1] for place in places])
    point = int(nearest.argmax())
    (sample,) = shown.client.datasets.samples_of_rows(shown.dataset.id, [int(points["row"][point])])
    centre = [(places[:, axis].min() + places[:, axis].max()) / 2 for axis in (0, 1)]
    box = page.locator("#map").bounding_box()
    assert box is not None
    extent = [1.1 * (places[:, axis].max() - places[:, axis].min()) for axis in (0, 1)]
    full = [box["width"] / extent[0], box["height"] / extent[1]]
    across, above = (min(scale, 1.5 * min(full)) for scale in full)
    left = box["x"] + box["width"] / 2 + (places[point, 0] - centre[0]) * across
    top = box["y"] + box["height"] / 2 - (places[point, 1] - centre[1]) * above
    page.mouse.move(left + 3, top + 2)
    page.mouse.move(left, top)
    expect(page.locator(".map-card .caption")).to_have_text(sample.caption)
    expect(page.locator("#map")).to_have_attribute("data-hovered", sample.key)
    archive = shown.client.archives.get(shown.curation.id, sample.key)
    for concept in archive.added[:3]:
        expect(page.locator(".map-card .best")).to_contain_text(concept.concept)
    page.mouse.click(left, top)
    expect(page.get_by_role("heading", level=1)).to_have_text(sample.key)


def test_without_webgl__the_picture_and_the_regions_remain(shown: Shown, open_page: OpenPage) -> None:
    page = open_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(shown.kinds["map"])
    expect(page.locator("#map")).to_have_attribute("data-state", "picture")
    check_picture(page)
    expect(page.locator("#note")).to_contain_text("WebGL2")
    page.locator("#regions a.name").first.click()
    expect(page.locator("#selected-total")).to_be_visible()


def test_without_javascript__the_picture_and_the_regions_remain(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.kinds["map"], java_script_enabled=False)
    check_picture(page)
    page.locator("#regions a.name").first.click()
    expect(page.locator("#selected-total")).to_be_visible()


def check_picture(page: Page) -> None:
    image = page.locator("#map img.density")
    expect(image).to_be_visible()
    answer = page.request.get(image.evaluate("image => image.src") if _has_scripts(page) else _source(page))
    assert answer.status == 200
    assert Image.open(io.BytesIO(answer.body())).size == (512, 512)
    assert page.locator("#regions tbody tr").count() >= 2


def _has_scripts(page: Page) -> bool:
    return page.locator("#map[data-state=picture]").count() == 1


def _source(page: Page) -> str:
    source = page.locator("#map img.density").get_attribute("src")
    assert source is not None
    return re.sub(r"^(\.\./)+", "/", source)


def test_map_that_is_being_made__is_shown_by_itself(shown: Shown, open_page: OpenPage) -> None:
    asked = shown.client.projections.create(shown.dataset.id, method="pca", seed=7)
    page = open_page(f"{shown.kinds['map']}?projection={asked.id}")
    expect(page.locator("#map")).to_have_attribute("data-state", "ready")
    expect(page.locator("#map")).to_have_attribute("data-count", str(shown.curation.samples))


def test_moving__ends_in_the_url(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    drag(page, [(0.5, 0.5), (0.4, 0.55)])
    expect(page).to_have_url(re.compile(r"view=\d+-\d+-\d+$"))
    page.mouse.wheel(0, -300)
    expect(page).to_have_url(re.compile(r"view=\d+-\d+-[1-5]?\d{4}$"))
    wait_until_drawn(page, shown)
    page.get_by_role("button", name="Whole map").click()
    expect(page).not_to_have_url(re.compile("view="))
    wait_until_drawn(page, shown)


def test_phone__has_the_map_and_a_lasso(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown, width=390)
    assert overflow(page) == 0
    page.get_by_role("button", name="Lasso").click()
    drag(page, HEART)
    assert selected(page) > 0
    assert overflow(page) == 0
