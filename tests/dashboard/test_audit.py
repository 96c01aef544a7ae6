"""The audit page, and what labels say in inspector and grid, with and without a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import LABELS, Shown
from tests.dashboard.test_pages import check_page, page_at

from cocu.client import NotFoundError, read_labels
from cocu.dashboard import links
from cocu.dashboard.links import ArchiveQuery
from cocu.dashboard.rendering import count, number, score
from cocu.schemas import AuditPair, PrecisionFrom


@pytest.fixture(autouse=True)
def nothing_is_judged(shown: Shown) -> Iterator[None]:
    yield
    for judgement in list(shown.client.judgements.list(shown.curation.id)):
        shown.client.judgements.undo(shown.curation.id, judgement.key, judgement.concept)
    shown.client.curations.set_threshold(shown.curation.id, None)


def path_of(shown: Shown) -> str:
    return links.audit(shown.curation.id)


def first(shown: Shown) -> AuditPair:
    return shown.client.judgements.next(shown.curation.id).items[0]


def send(shown: Shown, http: httpx.Client, action: str, **fields: str) -> str:
    """What a viewer without JavaScript does: fill in the form of the page; the page that follows."""
    page = page_at(http, path_of(shown))
    (form,) = page.all("form", id="judge")
    hidden = {
        field.attributes["name"]: field.attributes["value"]
        for field in page.all("input", type="hidden")
        if form in field.around
    }
    answer = http.post(path_of(shown), data={**hidden, "action": action, **fields})
    assert answer.status_code == 303
    return urljoin(path_of(shown), answer.headers["location"])


def interval(estimate: PrecisionFrom) -> str:
    return (
        f"{number(estimate.precision)} ({number(estimate.precision_low)}–{number(estimate.precision_high)})"
    )


def test_a_pair_is_shown_judged_and_undone(shown: Shown, http: httpx.Client) -> None:
    pair = first(shown)
    page = page_at(http, path_of(shown))
    assert page.first("h2", class_="asked").text == f"Is “{pair.concept}” in this picture?"
    assert pair.caption in page.first("main").text
    assert page.first("span", id="progress").text == "0 judged, 50 are enough"
    following = send(shown, http, "wrong", author="Ana & co")
    judgement = shown.client.judgements.get(shown.curation.id, pair.key, pair.concept)
    assert (judgement.right, judgement.author) == (False, "Ana & co")
    page = page_at(http, following)
    assert "wrong by Ana & co" in page.first("form", id="last").text
    assert page.first("span", id="progress").text == "1 judged, 50 are enough"
    assert first(shown).turn == pair.turn + 1
    assert page.first("input", name="author").attributes["value"] == "Ana & co"
    undone = http.post(path_of(shown), data={"action": "undo", "key": pair.key, "concept": pair.concept})
    assert urljoin(path_of(shown), undone.headers["location"]) == path_of(shown)
    with pytest.raises(NotFoundError):
        shown.client.judgements.get(shown.curation.id, pair.key, pair.concept)


def test_of_two_people_the_later_wins_and_it_is_said(shown: Shown, http: httpx.Client) -> None:
    pair = first(shown)
    shown.client.judgements.judge(shown.curation.id, pair.key, pair.concept, True, author="Ben")
    fields = {"key": pair.key, "concept": pair.concept, "author": "Ana"}
    answer = http.post(path_of(shown), data={"action": "unsure", **fields})
    text = page_at(http, urljoin(path_of(shown), answer.headers["location"])).first("form", id="last").text
    assert "not sure by Ana" in text
    assert "before that: right by Ben" in text
    http.post(path_of(shown), data={"action": "undo", **fields})
    judgement = shown.client.judgements.get(shown.curation.id, pair.key, pair.concept)
    assert (judgement.right, judgement.author) == (True, "Ben"), "undone is what Ana said, not what Ben did"


def test_fifty_judgements_become_a_precision_and_a_threshold(
    shown: Shown, http: httpx.Client, truth: dict[str, list[str]]
) -> None:
    page = page_at(http, path_of(shown))
    assert "have none yet" in page.first("p", id="result").text
    for pair in shown.client.judgements.next(shown.curation.id, 50).items:
        right = pair.concept in truth[pair.key]
        shown.client.judgements.judge(shown.curation.id, pair.key, pair.concept, right)
    summary = shown.client.judgements.summary(shown.curation.id, precision=0.8)
    assert summary.counted == 50
    assert summary.overall is not None
    page = page_at(http, path_of(shown))
    check_page(page)
    assert interval(summary.overall) in page.first("p", id="result").text
    (table,) = page.all("table", id="bins")
    cells = [cell.text for cell in page.all("td") if table in cell.around]
    rows = [cells[begin : begin + 6] for begin in range(0, len(cells), 6)]
    assert [(row[0], row[1].replace(" ", ""), row[2], row[3], row[5]) for row in rows] == [
        (score(bin_.low), str(bin_.added), str(bin_.judged), str(bin_.right), interval(onward))
        for bin_, onward in zip(summary.bins, summary.by_threshold, strict=True)
    ]
    assert len(page.all("circle")) == len(summary.bins)
    # A precision that is reached: that of everything.
    assert summary.overall.precision is not None
    wished = f"{summary.overall.precision - 0.005:.3f}"
    page = page_at(http, path_of(shown), params={"precision": wished})
    (form,) = page.all("form", id="threshold")
    (button,) = (button for button in page.all("button") if form in button.around)
    reached = shown.client.judgements.summary(shown.curation.id, precision=float(wished)).reached
    assert reached is not None
    assert button.text == f"Set the threshold to {score(reached.score)}"
    fields = {
        field.attributes["name"]: field.attributes["value"]
        for field in page.all("input", type="hidden")
        if form in field.around
    }
    answer = http.post(path_of(shown), data={**fields, "action": "threshold"})
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"precision": [f"{float(wished):g}"]}
    assert shown.client.curations.get(shown.curation.id).threshold == reached.score
    home = page_at(http, links.curation(shown.curation.id)).first("p", id="audit").text
    assert f"The threshold is {score(reached.score)}." in home
    assert "50 judged" in home
    http.post(path_of(shown), data={"action": "threshold", "score": ""})
    assert shown.client.curations.get(shown.curation.id).threshold is None


@pytest.fixture
def truth(repository: Path) -> dict[str, list[str]]:
    labels = read_labels(repository / "examples" / "scenes" / "labels.json")
    assert isinstance(labels, dict)
    return labels


@pytest.mark.parametrize(
    "form",
    [
        {"action": "right", "key": "no such picture", "concept": "dog"},
        {"action": "right", "key": "", "concept": ""},
        {"action": "right", "key": "x" * 5000, "concept": "dog"},
        {"action": "threshold", "score": "high"},
        {"action": "threshold", "score": "nan"},
        {"action": "threshold", "score": "1e999"},
        {"action": "delete"},
        {},
    ],
)
def test_what_is_no_judgement_is_refused(shown: Shown, http: httpx.Client, form: dict[str, str]) -> None:
    answer = http.post(path_of(shown), data=form)
    assert answer.status_code == 422
    assert PageDocument(answer.text).first("h1").text
    assert list(shown.client.judgements.list(shown.curation.id)) == []
    assert shown.client.curations.get(shown.curation.id).threshold is None


@pytest.mark.parametrize(
    "query", ["precision=0", "precision=x", "precision=-1", "key=nobody&concept=x", "a=b"]
)
def test_what_cannot_be_read_has_its_default(shown: Shown, http: httpx.Client, query: str) -> None:
    page = page_at(http, f"{path_of(shown)}?{query}")
    assert page.first("input", name="precision", type="hidden").attributes["value"] == "0.8"
    assert page.all("form", id="last") == []


def test_hostile_pictures_can_be_judged(shown: Shown, http: httpx.Client) -> None:
    path = links.audit(shown.hostile.id)
    judged = 0
    while True:
        page = page_at(http, path)
        check_page(page)
        forms = page.all("form", id="judge")
        if not forms or judged == 8:
            break
        fields = {
            field.attributes["name"]: field.attributes["value"]
            for field in page.all("input", type="hidden")
            if forms[0] in field.around
        }
        answer = http.post(path, data={**fields, "action": "unsure"})
        assert answer.status_code == 303, answer.text
        path = urljoin(path, answer.headers["location"])
        judged += 1
    for judgement in list(shown.client.judgements.list(shown.hostile.id)):
        shown.client.judgements.undo(shown.hostile.id, judgement.key, judgement.concept)
    assert judged


def test_the_inspector_shows_what_labels_say(shown: Shown, http: httpx.Client) -> None:
    card = shown.client.archives.card_page(shown.curation.id, order="-gain", limit=1).items[0]
    archive = shown.client.archives.get(shown.curation.id, card.key, labels=LABELS)
    page = page_at(http, ArchiveQuery(labels=LABELS).archive(shown.curation.id, card.key))
    check_page(page)
    glyphs = {"hit": "✓", "false": "✗", "unknown": "·"}
    verdicts = {concept.concept: glyphs[concept.verdict or ""] for concept in archive.concepts}
    rows = [row for row in page.all("div", role="listitem") if "concept-row" in row.classes]
    truths = page.all("span", class_="truth")
    assert {
        row.attributes["data-concept"]: next(truth for truth in truths if row in truth.around).text[0]
        for row in rows
    } == verdicts
    missed = page.first("p", id="missed").text
    assert all(label in missed for label in archive.missed or ())
    plain = page_at(http, ArchiveQuery().archive(shown.curation.id, card.key))
    assert plain.all("span", class_="truth") == []
    assert LABELS in [option.attributes["value"] for option in plain.all("option")]
    unknown = page_at(http, f"{shown.grid}/{links.segment(card.key)}?labels=none-such")
    assert "keeps no labels" in unknown.first("div", class_="hint").text


@pytest.mark.parametrize("verdict", ["hit", "false", "missed"])
def test_the_grid_selects_by_verdict(shown: Shown, http: httpx.Client, verdict: str) -> None:
    total = shown.client.archives.facets(shown.curation.id, labels=LABELS, verdict=verdict).total  # type: ignore[arg-type]
    path = f"{shown.grid}?labels={LABELS}&verdict={verdict}"
    page = page_at(http, path)
    assert page.first("span", id="total").text.split(" of ")[0] == count(total)
    chips = [
        chip for chip in page.all("a", class_="chip") if "labels" in chip.text or "label is" in chip.text
    ]
    assert len(chips) == 1
    assert urljoin(path, chips[0].attributes["href"]) == f"{shown.grid}?labels={LABELS}"
    cards = page.all("a", class_="card")
    inspector = page_at(http, urljoin(path, cards[0].attributes["href"]))
    assert f"1 of {count(total)}" in inspector.first("nav", class_="end").text


def test_a_grid_by_labels_that_are_gone_says_so(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, f"{shown.grid}?labels=none-such")
    assert "keeps no labels" in page.first("div", class_="problem").text
    for query in ("verdict=hit", "labels=%3Cb%3E", f"labels={LABELS}&verdict=other"):
        assert page_at(http, f"{shown.grid}?{query}").all("div", class_="hint")


def test_four_keys_judge_and_undo(shown: Shown, open_page: Callable[..., Page]) -> None:
    dealt = shown.client.judgements.next(shown.curation.id, 4).items
    page = open_page(path_of(shown))
    for turn, (key, word) in enumerate((("y", "right"), ("n", "wrong"), ("u", "not sure"))):
        expect(page.locator("h2.asked")).to_contain_text(dealt[turn].concept)
        page.wait_for_load_state()  # the module of the keys runs after the question is there
        page.keyboard.press(key)
        expect(page.locator("#last")).to_contain_text(f"{dealt[turn].key}: {word}")
    expect(page.locator("#progress")).to_have_text("3 judged, 50 are enough")
    page.wait_for_load_state()
    page.keyboard.press("z")
    expect(page.locator("#progress")).to_have_text("2 judged, 50 are enough")
    page.wait_for_load_state()
    page.locator("input[name=author]").press_sequentially("yn")
    expect(page.locator("#progress")).to_have_text("2 judged, 50 are enough")
    page.reload()
    expect(page.locator("h2.asked")).to_contain_text(dealt[2].concept)
    said = [shown.client.judgements.get(shown.curation.id, pair.key, pair.concept) for pair in dealt[:2]]
    assert [judgement.right for judgement in said] == [True, False]


def test_the_audit_needs_no_script(shown: Shown, open_page: Callable[..., Page]) -> None:
    pair = first(shown)
    page = open_page(path_of(shown), java_script_enabled=False)
    page.get_by_role("button", name="Right").click()
    expect(page.locator("#last")).to_contain_text(f"{pair.key}: right")
    assert shown.client.judgements.get(shown.curation.id, pair.key, pair.concept).right
