"""A vocabulary as text on its pages: looked up, downloaded, changed, deleted; without JavaScript."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown
from tests.dashboard.test_pages import page_at
from tests.dashboard.viewers import overflow

from cocu.client import NotFoundError
from cocu.dashboard import links
from cocu.schemas import Vocabulary


@pytest.fixture
def unused(shown: Shown) -> Vocabulary:
    """A vocabulary that no curation uses."""
    return shown.client.vocabularies.from_text("dog = hound\n<b>cat</b>\nÉclair\n", name="unused")


def text_on(http: httpx.Client, path: str) -> str:
    """What the editor begins with. A parser of HTML leaves out the first end of line in it."""
    (area,) = page_at(http, path).all("textarea")
    source = http.get(path).text.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0]
    assert area.attributes["aria-label"]
    return source.removeprefix("\n").replace("&lt;", "<").replace("&gt;", ">")


def test_the_editor_begins_with_the_concepts(shown: Shown, http: httpx.Client, unused: Vocabulary) -> None:
    text = text_on(http, links.vocabulary_text(unused.id))
    assert text == shown.client.vocabularies.document(unused.id, format="text")
    assert "dog = hound\n" in text


def test_what_is_changed_becomes_a_new_version(shown: Shown, http: httpx.Client, unused: Vocabulary) -> None:
    path = links.vocabulary_text(unused.id, dataset_id=shown.dataset.id)
    text = text_on(http, path)
    form = {"text": text.replace("\n", "\r\n"), "name": "unused", "dataset": shown.dataset.id}
    kept = http.post(links.vocabulary_text(unused.id), data=form)
    assert (kept.status_code, urljoin(path, kept.headers["location"])) == (
        303,
        links.vocabulary(unused.id, dataset_id=shown.dataset.id),
    )
    changed = {**form, "text": form["text"] + "zebra\r\n"}
    answer = http.post(links.vocabulary_text(unused.id), data=changed)
    assert answer.status_code == 303
    made = shown.client.vocabularies.from_text(text + "zebra\n", name="unused")
    following = links.vocabulary(made.id, dataset_id=shown.dataset.id)
    assert urljoin(path, answer.headers["location"]) == following
    assert (made.id, made.concepts) != (unused.id, unused.concepts)
    assert "zebra" in page_at(http, following).first("div", id="concepts").text
    assert shown.client.vocabularies.get(unused.id) == unused


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"text": "dog\n= cat\n"}, "line 2: there is no concept before the '='"),
        ({"text": "dog\ndog\n"}, "line 2"),
        ({"text": ""}, "no concepts"),
        ({"text": "dog", "name": "x" * 300}, "200 characters"),
    ],
)
def test_a_wrong_text_stays_and_says_which_line(
    shown: Shown, http: httpx.Client, unused: Vocabulary, form: dict[str, str], words: str
) -> None:
    answer = http.post(links.vocabulary_text(unused.id), data=form)
    assert answer.status_code == 422
    assert form["text"] in answer.text
    problem = answer.text.partition('class="problem"')[2].partition("</div>")[0]
    assert words in problem.replace("&#39;", "'")


def test_a_text_is_as_large_as_the_platform_takes_it(
    shown: Shown, http: httpx.Client, unused: Vocabulary
) -> None:
    """As a browser sends it: in parts, with both characters of an end of line."""
    text = "dog\r\n" + f"# {'x' * 60}\r\n" * 80_000
    answer = http.post(
        links.vocabulary_text(unused.id), data={"name": "large"}, files={"text": (None, text.encode())}
    )
    assert answer.status_code == 303
    made = shown.client.vocabularies.from_text(text.replace("\r\n", "\n"), name="large")
    assert (made.concepts, answer.headers["location"].endswith(made.id)) == (1, True)


def test_a_text_that_the_platform_refuses_as_too_large_stays(http: httpx.Client, unused: Vocabulary) -> None:
    text = "\x01" * (11 << 20)
    answer = http.post(links.vocabulary_text(unused.id), files={"text": (None, text)})
    assert answer.status_code == 413
    problem = answer.text.partition('class="problem"')[2].partition("</div>")[0]
    assert "larger than 67,108,864 bytes" in problem
    assert text in answer.text


def test_a_form_that_is_not_read_says_so_on_a_page(shown: Shown, http: httpx.Client) -> None:
    vocabulary = links.vocabulary(shown.curation.vocabulary)
    for field in ("x" * (1 << 20), "x" * (5 << 20)):
        answer = http.post(vocabulary, data={"dataset": field})
        assert answer.status_code == 413
        assert answer.headers["content-type"].startswith("text/html")
        assert "Go back" in answer.text


def test_what_lines_cannot_say_is_changed_as_a_document(shown: Shown, http: httpx.Client) -> None:
    stated = {"name": "drawn", "concepts": ["dog"], "templates": ["a drawing of a {}"]}
    drawn = shown.client.vocabularies.from_document(json.dumps(stated))
    path = links.vocabulary_text(drawn.id)
    page = page_at(http, path)
    assert page.all("textarea") == []
    assert "a drawing of a {}" in page.first("div", class_="problem").text
    (link,) = (link for link in page.all("a") if "download" in link.attributes)
    document = http.get(urljoin(path, link.attributes["href"]))
    assert document.text == shown.client.vocabularies.document(drawn.id)


def test_names_break_between_words_on_a_phone(shown: Shown, open_page: Callable[..., Page]) -> None:
    """A name that is longer than the page breaks, and does not widen it."""
    names = ["advertisement", "abstract concept", "accordion", "x" * 400]
    lines = [f"{name} = {name} form, another {name}, {name} of a kind" for name in names]
    made = shown.client.vocabularies.from_text("\n".join(lines), name="broad")
    page = open_page(links.vocabulary(made.id), width=390)
    assert overflow(page) <= 0
    broken = page.locator("#concepts tbody td:first-child bdi").evaluate_all(
        """cells => cells.flatMap((cell) => [...cell.textContent.matchAll(/\\S+/g)].filter((word) => {
          const range = document.createRange();
          range.setStart(cell.firstChild, word.index);
          range.setEnd(cell.firstChild, word.index + word[0].length);
          return range.getClientRects().length > 1;
        }).map((word) => word[0]))"""
    )
    assert broken == ["x" * 400]


def test_one_concept_is_one(shown: Shown, http: httpx.Client) -> None:
    one = shown.client.vocabularies.from_text("dog", name="single")
    for path in (links.vocabulary(one.id), links.vocabulary_deletion(one.id)):
        assert "1 concept " in page_at(http, path).first("main").text
    page_at(http, links.vocabulary(one.id, prefix="x" * 401))


def test_it_is_deleted_after_one_question(shown: Shown, http: httpx.Client, unused: Vocabulary) -> None:
    path = links.vocabulary(unused.id)
    paths = {urljoin(path, link.attributes["href"]) for link in page_at(http, path).all("a")}
    assert links.vocabulary_deletion(unused.id) in paths
    question = page_at(http, links.vocabulary_deletion(unused.id))
    assert [button.text for button in question.all("button") if question.first("main") in button.around] == [
        "Delete the vocabulary"
    ]
    assert shown.client.vocabularies.get(unused.id) == unused
    answer = http.post(links.vocabulary_deletion(unused.id))
    assert (answer.status_code, urljoin(path, answer.headers["location"])) == (303, "/")
    with pytest.raises(NotFoundError):
        shown.client.vocabularies.get(unused.id)
    for gone in (path, links.vocabulary_text(unused.id), links.vocabulary_deletion(unused.id)):
        page_at(http, gone, status=404)


def test_one_that_a_curation_uses_stays_and_says_why(shown: Shown, http: httpx.Client) -> None:
    path = links.vocabulary_deletion(shown.curation.vocabulary)
    answer = http.post(path)
    assert answer.status_code == 409
    assert shown.client.vocabularies.get(shown.curation.vocabulary)
    used = links.vocabulary(shown.curation.vocabulary)
    assert path not in {urljoin(used, link.attributes["href"]) for link in page_at(http, used).all("a")}


def test_a_deletion_that_cannot_be_is_not_offered_and_names_what_uses_it(
    shown: Shown, http: httpx.Client
) -> None:
    """Neither of one that a curation uses, nor of the shipped one."""
    path = links.vocabulary_deletion(shown.curation.vocabulary)
    for page in (page_at(http, path), PageDocument(http.post(path).text)):
        assert "Delete the vocabulary" not in {button.text for button in page.all("button")}
        paths = {urljoin(path, link.attributes["href"]) for link in page.all("a")}
        assert links.curation(shown.curation.id) in paths
    listed = shown.client.vocabularies.list()
    shipped = next(vocabulary for vocabulary in listed if vocabulary.source == "shipped")
    question = page_at(http, links.vocabulary_deletion(shipped.id))
    assert "Delete the vocabulary" not in {button.text for button in question.all("button")}
    home = links.vocabulary(shipped.id)
    paths = {urljoin(home, link.attributes["href"]) for link in page_at(http, home).all("a")}
    assert links.vocabulary_deletion(shipped.id) not in paths


def test_the_way_without_javascript(shown: Shown, open_page: Callable[..., Page], unused: Vocabulary) -> None:
    page = open_page(links.vocabulary(unused.id), java_script_enabled=False)
    page.get_by_label("begins with").fill("ECL")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#concepts tbody tr")).to_have_count(1)
    expect(page.locator("#concepts")).to_contain_text("Éclair")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Concepts, one a line").fill("dog\nowl\n")
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.locator("#concepts tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete the vocabulary").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_concepts_are_looked_up_while_one_types(
    shown: Shown, open_page: Callable[..., Page], unused: Vocabulary
) -> None:
    page = open_page(links.vocabulary(unused.id))
    page.get_by_label("begins with").press_sequentially("écl")
    expect(page.locator("#concepts tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("prefix="))
