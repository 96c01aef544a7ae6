"""Every page as HTML, without a browser: sound, labelled, without code in it, and no link leads nowhere."""

from __future__ import annotations

import os
import re
from collections import Counter
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from benchmarks.pages import NOT_SHOWN, route_of
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown
from tests.servers.http_proxy import http_proxy

from cocu.dashboard.pages import ROUTES

OF_A_KIND = 3 if os.environ.get("COCU_TEST_PAGES") == "all" else 1
"""Pages of a kind that a crawl looks at; the links of each are all followed."""


def page_at(http: httpx.Client, path: str, *, status: int = 200, **options: object) -> PageDocument:
    answer = http.get(path, **options)  # type: ignore[arg-type]
    assert answer.status_code == status, (path, answer.text[:500])
    assert answer.headers["content-type"].startswith("text/html")
    return PageDocument(answer.text)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("row=99999", "There is no picture from row 99,999 on."),
        ("row=99999&caption=qqq", "There is no picture from row 99,999 on whose caption has these words."),
        ("caption=qqq", "No caption here has these words."),
        ("row=abc", "“from row” is a whole number from 0 on; it is left out."),
        ("row=-3", "“from row” is a whole number from 0 on; it is left out."),
    ],
)
def test_dataset__says_what_it_did_not_find_or_left_out(
    shown: Shown, http: httpx.Client, query: str, words: str
) -> None:
    page = page_at(http, f"/datasets/{shown.dataset.id}?{query}")
    assert page.first("div", class_="hint").text == words


def test_search__by_a_file_that_is_no_picture__says_so_beside_the_form(
    shown: Shown, http: httpx.Client
) -> None:
    files = {"image": ("note.txt", b"not an image")}
    answer = http.post("/search", data={"dataset": shown.dataset.id}, files=files)
    assert answer.status_code == 422
    page = PageDocument(answer.text)
    assert page.first("div", class_="problem").text.startswith("This file is no picture")
    assert [field.attributes["type"] for field in page.all("input", name="image")] == ["file"]


def test_kinds__are_all_pages_that_there_are(shown: Shown) -> None:
    """A page that is added to the routes is added to `benchmarks.pages`, and so to the tests and pictures."""
    pages = {route for route, methods, _ in ROUTES if "GET" in methods} - NOT_SHOWN
    assert {route_of(path) for path in shown.kinds.values()} == pages


def test_pages__are_sound_and_labelled_and_have_no_code_in_them(shown: Shown, http: httpx.Client) -> None:
    for path in shown.kinds.values():
        check_page(page_at(http, path))


def check_page(page: PageDocument) -> None:
    assert page.doctype == "doctype html"
    assert (page.misplaced, page.unclosed) == ([], [])
    assert len(page.all("h1")) == 1
    assert page.first("h1").text
    assert page.first("title").text.endswith("· cocu")
    assert page.first("html").attributes["lang"] == "en"
    assert len(page.all("main")) == 1
    assert page.unlabelled == []
    assert page.code == []
    ids = Counter(element.attributes["id"] for element in page.elements if "id" in element.attributes)
    assert max(ids.values()) == 1, ids.most_common(3)
    for element in page.all("img"):
        assert "alt" in element.attributes
    for element in (*page.all("a"), *page.all("button")):
        pictures = [image for image in page.all("img") if element in image.around]
        named = element.text or element.attributes.get("aria-label")
        assert named or any(image.attributes["alt"] for image in pictures), element.attributes


def test_pages__forbid_what_is_not_of_this_origin(shown: Shown, http: httpx.Client) -> None:
    for path in shown.kinds.values():
        check_headers(http.get(path))


def check_headers(answer: httpx.Response) -> None:
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    vary = {part.strip().lower() for part in answer.headers["vary"].split(",")}
    assert {"hx-request", "cookie"} <= vary
    assert "no-cache" in answer.headers["cache-control"]
    assert not re.search(r"""(?:href|src|action)\s*=\s*["']?(?:https?:)?//""", answer.text)


def test_links__all_lead_somewhere(shown: Shown, http: httpx.Client) -> None:
    """From the overview on: every address on the pages of every kind answers, and stays on this origin."""
    waiting, seen, looked_at = ["/"], {"/"}, Counter[str]()
    while waiting:
        path = waiting.pop(0)
        answer = http.get(path)
        assert answer.status_code == 200, path
        kind = _kind(path)
        is_page = answer.headers["content-type"].startswith("text/html") and kind != "/docs"
        if not is_page or looked_at[kind] >= OF_A_KIND:
            continue
        looked_at[kind] += 1
        page = PageDocument(answer.text)
        posted = {form.attributes["action"] for form in page.all("form", method="post")}
        for reference in page.references - posted:
            target = urlsplit(urljoin(str(answer.url), reference))
            assert f"{target.scheme}://{target.netloc}" == shown.server.url, reference
            link = f"{target.path}?{target.query}" if target.query else target.path
            if link not in seen:
                seen.add(link)
                waiting.append(link)
    visited = {re.sub(r"\?.*", "", kind) for kind in looked_at}
    assert visited >= {"/", "/settings", "/datasets/*", "/curations/*", "/curations/*/archives"}
    assert "/curations/*/archives/*" in visited


def _kind(path: str) -> str:
    parts = urlsplit(path)
    segments = parts.path.split("/")
    tab = parse_qs(parts.query).get("tab")
    names = ["*" if place in {2, 4} and segments[1] != "v1" else name for place, name in enumerate(segments)]
    return "/".join(names) + (f"?tab={tab[0]}" if tab else "")


def test_static_files__are_kept_for_ever_and_named_by_their_content(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, "/")
    sources = [link.attributes["href"] for link in page.all("link")]
    sources += [script.attributes["src"] for script in page.all("script")]
    assert len(sources) >= 4
    for source in sources:
        answer = http.get(urljoin(f"{shown.server.url}/", source))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"], source
        assert re.search(r"static/[0-9a-f]{12}/", source)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/datasets/absent",
        "/curations/absent",
        "/curations/absent/archives",
        "/curations/absent/archives/key",
        "/curations/%00/archives/%ff",
        "/static/000000000000/app.css",
        "/settings/nothing",
        "/datasets/..%2f..%2fetc/x",
    ],
)
def test_what_is_absent__is_a_page_that_leads_back(http: httpx.Client, path: str) -> None:
    page = page_at(http, path, status=404)
    assert len(page.all("h1")) == 1
    overview = [link for link in page.all("a", class_="button") if "overview" in link.text]
    assert http.get(urljoin(str(http.base_url.join(path)), overview[0].attributes["href"])).status_code == 200
    assert page.code == []


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/datasets/absent", "/v1", "/healthz/nothing"])
def test_paths_of_the_api__are_never_pages(http: httpx.Client, path: str) -> None:
    answer = http.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_below_a_path_of_a_proxy__every_link_stays_there(shown: Shown) -> None:
    with (
        http_proxy(shown.server.url, "/tools/cocu") as url,
        httpx.Client(timeout=60, trust_env=False) as http,
    ):
        for name in ("overview", "dataset", "curation", "grid", "inspector", "map", "settings"):
            answer = http.get(f"{url}{shown.kinds[name]}")
            page = PageDocument(answer.text)
            posted = {form.attributes["action"] for form in page.all("form", method="post")}
            targets = {urljoin(str(answer.url), link) for link in page.references - posted}
            assert all(target.startswith((f"{url}/", f"{url}?")) for target in targets), targets
            some = sorted(targets)[:: max(1, len(targets) // 4)]
            assert [http.get(target).status_code for target in some] == [200] * len(some), some
