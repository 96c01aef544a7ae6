"""The map where something fails: an answer, the graphics, a gesture, or Back pressed twice."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from benchmarks.browser import new_context
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect
from tests.dashboard.shown_platform import TIMEOUT, Shown
from tests.dashboard.test_map_browser import HEART, drag, opened, selected, wait_until_drawn
from tests.local_platform import tar_of_samples

from cocu.schemas import Curation

pytestmark = pytest.mark.slow

OpenPage = Callable[..., Page]
KEYS = ("%2E", "%2E%2E", "a%2Eb", "folder/%2E%2E/x")


@pytest.fixture
def page(browser: Browser, shown: Shown) -> Iterator[Page]:
    """A window in which answers may fail; that of a viewer takes this for a fault."""
    context = new_context(browser, base_url=shown.server.url)
    context.set_default_timeout(1000 * TIMEOUT)
    yield context.new_page()
    context.close()


def refuse(route: Route) -> None:
    route.fulfill(
        status=503, content_type="application/problem+json", body='{"detail": "The disk of X fails."}'
    )


@pytest.mark.parametrize(
    ("address", "what"),
    [("**/points", "The points of the map"), ("**/columns?*", "The colours by concepts gained")],
)
def test_answer_that_fails__is_named_and_asked_for_again(
    shown: Shown, page: Page, address: str, what: str
) -> None:
    page.route(address, refuse)
    page.goto(f"{shown.kinds['map']}?color=gain")
    expect(page.locator("#note")).to_contain_text(f"{what} did not arrive: The disk of X fails.")
    page.unroute(address)
    page.locator("#note").get_by_role("button", name="Try again").first.click()
    expect(page.locator("#map")).to_have_attribute("data-color", "gain")
    for note in page.locator('#note [data-about="gains"]').all():
        note.get_by_role("button", name="Try again").click()
    wait_until_drawn(page, shown)
    expect(page.locator("#note")).to_be_hidden()


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("**/samples?rows=*", "The picture below the pointer"),
        (re.compile("/v1/curations/[^/]+/archives/[^/]+$"), "The archive of the picture"),
    ],
)
def test_card_that_fails__is_named_and_asked_for_again(
    shown: Shown, page: Page, address: str | re.Pattern[str], what: str
) -> None:
    page.goto(shown.kinds["map"])
    wait_until_drawn(page, shown)
    page.route(address, refuse)
    rest_on_a_point(page)
    expect(page.locator("#note")).to_contain_text(f"{what} did not arrive: The disk of X fails.")
    page.unroute(address)
    page.locator("#note").get_by_role("button", name="Try again").click()
    expect(page.locator(".map-card .caption")).to_be_visible()
    expect(page.locator("#note")).to_be_hidden()


def rest_on_a_point(page: Page) -> None:
    """Rest where the canvas has colour: there is a point."""
    left, top = page.evaluate(
        """() => {
            const canvas = document.querySelector("#map canvas");
            const { width, height } = canvas;
            const flat = Object.assign(document.createElement("canvas"), { width, height });
            const drawing = flat.getContext("2d");
            drawing.drawImage(canvas, 0, 0);
            const { data } = drawing.getImageData(0, 0, width, height);
            const box = canvas.getBoundingClientRect();
            const pixel = Math.floor(data.findIndex((value, at) => at % 4 === 3 && value > 150) / 4);
            const [across, down] = [pixel % width, Math.floor(pixel / width)];
            return [box.left + (across * box.width) / width, box.top + (down * box.height) / height];
        }"""
    )
    page.mouse.move(left + 2, top + 2)
    page.mouse.move(left, top + 1)


def test_selection_that_fails__is_named_and_asked_for_again(shown: Shown, page: Page) -> None:
    page.goto(shown.kinds["map"])
    wait_until_drawn(page, shown)
    page.route("**/map?*", refuse)
    page.locator("#regions a.name").first.click()
    expect(page.locator("#note")).to_contain_text("What is selected did not arrive: The disk of X fails.")
    page.unroute("**/map?*")
    page.locator("#note").get_by_role("button", name="Try again").click()
    assert selected(page) > 0
    expect(page.locator("#note")).to_be_hidden()


def test_lost_graphics__come_back_with_all_that_was_drawn(shown: Shown, page: Page) -> None:
    page.goto(f"{shown.kinds['map']}?color=gain&region=0")
    wait_until_drawn(page, shown)
    canvas = page.locator("#map canvas")
    before = colours(canvas)
    for _ in range(2):
        page.evaluate(
            """() => {
                const gl = document.querySelector("#map canvas").getContext("webgl2");
                globalThis.lost = gl.getExtension("WEBGL_lose_context");
                lost.loseContext();
            }"""
        )
        expect(page.locator("#note")).to_contain_text("graphics")
        # While they are lost, what is asked for is kept for later.
        page.locator("#color").select_option("region")
        expect(page.locator("#map")).to_have_attribute("data-color", "region")
        page.locator("#color").select_option("gain")
        page.evaluate("() => lost.restoreContext()")
        expect(page.locator("#note")).to_be_hidden()
        wait_until_drawn(page, shown)
    page.mouse.move(0, 0)
    differing = (np.abs(colours(canvas) - before).max(axis=2) > 32).mean()
    assert differing < 0.001
    assert (before.max(axis=2) < 200).mean() > 0.001, "there was something to draw"


def colours(canvas: Locator) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(np.int64)


@pytest.mark.parametrize("ending", ["pointercancel", "lostpointercapture"])
def test_cancelled_lasso__selects_nothing(shown: Shown, open_page: OpenPage, ending: str) -> None:
    page = opened(open_page, shown)
    page.get_by_role("button", name="Lasso").click()
    cancel_a_drag(page, ending)
    assert page.locator("#map").get_attribute("data-selected") == ""
    assert page.locator("#map polygon").get_attribute("points") == ""
    assert "lasso" not in page.url
    drag(page, HEART)
    assert selected(page) > 0


def test_cancelled_move_and_press__end(shown: Shown, open_page: OpenPage) -> None:
    page = opened(open_page, shown)
    cancel_a_drag(page, "pointercancel")
    expect(page).to_have_url(re.compile("view="))
    before = page.url
    page.mouse.move(200, 300, steps=5)
    page.wait_for_timeout(600)
    assert page.url == before, "the view follows no pointer that is up"


def cancel_a_drag(page: Page, ending: str) -> None:
    """Begin to drag; the system takes the pointer."""
    page.evaluate(
        """() => document.querySelector("#map").addEventListener(
            "pointerdown", (event) => (globalThis.pointer = event.pointerId), true)"""
    )
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    for x, y in ((220, 120), (240, 220), (120, 240)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.evaluate(
        """(ending) => document.querySelector("#map").dispatchEvent(
            new PointerEvent(ending, { pointerId: pointer, bubbles: true }))""",
        ending,
    )
    page.mouse.up()


def test_back_twice__ends_in_the_state_of_the_url(shown: Shown, page: Page) -> None:
    page.goto(f"{shown.kinds['map']}?region=1")
    wait_until_drawn(page, shown)
    for color in ("best_added", "changed"):
        page.locator("#color").select_option(color)
        expect(page.locator("#map")).to_have_attribute("data-color", color)
    page.locator("#clear").click()
    expect(page.locator("#map")).to_have_attribute("data-selected", "")
    page.reload()  # what was read is forgotten
    wait_until_drawn(page, shown)
    page.locator("#color").select_option("gain")
    expect(page.locator("#map")).to_have_attribute("data-color", "gain")
    page.evaluate(
        """() => {
            const real = window.fetch;
            window.fetch = async (url, options) => {
                if (`${url}`.includes("columns=best_added")) await new Promise((go) => (globalThis.go = go));
                return real(url, options);
            };
        }"""
    )
    for _ in range(3):
        with page.expect_event("framenavigated"):
            page.evaluate("() => history.back()")
    assert "color=best_added" in page.url, "its colour is waited for"
    with page.expect_event("framenavigated"):
        page.evaluate("() => history.back()")
    expect(page.locator("#map")).to_have_attribute("data-color", "region")
    page.locator("#regions a.name").nth(2).click()
    count = selected(page)
    page.evaluate("() => globalThis.go()")
    page.wait_for_timeout(1000)
    assert selected(page) == count
    expect(page.locator("#map")).to_have_attribute("data-color", "region")
    expect(page.locator("#color")).to_have_value("region")


@pytest.fixture(scope="module")
def dotted(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Curation:
    """A curation of pictures whose keys hold what looks like encoded dots."""
    file = tmp_path_factory.mktemp("dotted") / "dotted.tar"
    file.write_bytes(tar_of_samples({key: f"a dog beside number {place}" for place, key in enumerate(KEYS)}))
    dataset = shown.client.datasets.create("dotted").id
    shown.client.datasets.upload(dataset, file)
    shown.client.datasets.wait(dataset, timeout=TIMEOUT)
    curation = shown.client.curations.create(dataset)
    shown.client.curations.wait(curation.id, timeout=TIMEOUT)
    projection = shown.client.projections.create(dataset, method="pca")
    shown.client.projections.wait(dataset, projection.id, timeout=TIMEOUT)
    return shown.client.curations.get(curation.id)


def test_keys_with_encoded_dots__lead_to_their_pages(
    shown: Shown, dotted: Curation, open_page: OpenPage
) -> None:
    page = open_page(f"/curations/{dotted.id}/archives")
    links = page.locator("[data-grid] a").evaluate_all("found => found.map((link) => link.href)")
    addresses = {url for url in links if "/archives/" in urlsplit(url).path}
    keys = {archive.key for archive in shown.client.archives.list(dotted.id)}
    assert len(keys) == len(KEYS)
    titles = set()
    for address in addresses:
        page.goto(address)
        titles.add(page.get_by_role("heading", level=1).inner_text())
    assert titles == keys
    page.goto(f"/curations/{dotted.id}/map")
    expect(page.locator('#map[data-state="ready"]')).to_have_attribute("data-drawn", str(len(KEYS)))
    rest_on_a_point(page)
    expect(page.locator(".map-card .caption")).to_be_visible()
    key = page.locator("#map").get_attribute("data-hovered")
    assert key in keys
    href = page.locator(".map-card").evaluate("card => card.href")
    assert unquote(urlsplit(href).path).endswith(f"/archives/{key}")
    page.goto(href)
    expect(page.get_by_role("heading", level=1)).to_have_text(str(key))
