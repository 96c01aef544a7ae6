"""What a viewer prefers is that viewer's alone, and no form leads to another host."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown


@pytest.fixture
def another(shown: Shown) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shown.server.url, timeout=60, trust_env=False) as opened:
        yield opened


def theme_of(http: httpx.Client) -> str:
    return PageDocument(http.get("/").text).first("html").attributes["data-theme"]


def test_theme__is_kept_for_one_viewer_and_on_the_first_paint(
    http: httpx.Client, another: httpx.Client
) -> None:
    assert theme_of(http) == "system"
    answer = http.post("/settings/theme", data={"theme": "dark", "back": "/settings"})
    assert answer.status_code == 303
    assert answer.url.join(answer.headers["location"]).path == "/settings"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert theme_of(http) == "dark"
    assert theme_of(another) == "system"
    pressed = PageDocument(http.get("/settings").text).all("button", aria_pressed="true")
    assert [button.attributes["value"] for button in pressed] == ["dark"]


@pytest.mark.parametrize("theme", ["", "pink", '"><script>', "dark\r\nX: y"])
def test_theme__that_is_none__is_not_kept(http: httpx.Client, theme: str) -> None:
    assert "set-cookie" not in http.post("/settings/theme", data={"theme": theme}).headers
    http.cookies.set("theme", "pink")
    assert theme_of(http) == "system"


@pytest.mark.parametrize(
    "back",
    [
        "https://example.org/",
        "//example.org/",
        "/\\example.org/",
        "\\\\example.org",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
        "/\t/example.org",
        "///example.org",
        "example.org",
        "",
    ],
)
def test_choosing_a_theme__leads_to_no_other_host(shown: Shown, http: httpx.Client, back: str) -> None:
    answer = http.post("/settings/theme", data={"theme": "dark", "back": back})
    assert answer.status_code == 303
    target = httpx.URL(f"{shown.server.url}/settings/theme").join(answer.headers["location"])
    assert f"{target.scheme}://{target.netloc.decode()}" == shown.server.url
    assert "a=b" not in answer.headers.get("set-cookie", "")


def test_two_viewers__see_the_same_archive_and_nothing_of_each_other(
    shown: Shown, http: httpx.Client, another: httpx.Client
) -> None:
    path = shown.kinds["inspector"]
    before = another.get(path).text
    http.post("/settings/theme", data={"theme": "dark"})
    http.get(path, params={"seed": 7})
    assert another.get(path).text == before
    assert not another.cookies


def test_new_dataset__is_made_by_a_plain_form(shown: Shown, http: httpx.Client) -> None:
    answer = http.post("/datasets", data={"name": "  by a form  "})
    assert answer.status_code == 303
    page = PageDocument(http.get(answer.url.join(answer.headers["location"])).text)
    assert page.first("h1").text == "by a form"
    for name in ("", "   ", "x" * 5_000, "two\nlines", "\u202eturned", "by a form"):
        refused = http.post("/datasets", data={"name": name})
        assert refused.status_code in {409, 422}, name
        assert PageDocument(refused.text).all("div", role="alert")[0].text
    shown.client.datasets.delete(answer.headers["location"].rsplit("/", 1)[1])


@pytest.mark.parametrize("path", ["/settings/theme", "/datasets"])
def test_form_of_another_site__is_refused(shown: Shown, http: httpx.Client, path: str) -> None:
    datasets = len(list(shown.client.datasets.list()))
    for origin in ("https://example.org", "null", "http://127.0.0.1:1"):
        answer = http.post(path, data={"theme": "dark", "name": "stolen"}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "set-cookie" not in answer.headers
    assert len(list(shown.client.datasets.list())) == datasets
    own = http.post("/settings/theme", data={"theme": "dark"}, headers={"Origin": shown.server.url})
    assert own.status_code == 303


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("DELETE", "/settings"), ("PUT", "/datasets/x")])
def test_method_that_a_page_lacks__is_a_page(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert len(PageDocument(answer.text).all("h1")) == 1
