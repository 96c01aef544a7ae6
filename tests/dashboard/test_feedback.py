"""The pages of a concept and of a vocabulary: their figures, and the way from a wrong concept to a fix."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown
from tests.dashboard.test_pages import page_at

from cocu.client.transport import segment
from cocu.dashboard import links
from cocu.dashboard.rendering import count, percent, signed
from cocu.schemas import ConceptFrequency


@pytest.fixture
def gained(shown: Shown) -> Iterator[ConceptFrequency]:
    """The concept that was added most; nothing is said about it before and after."""
    concept = next(shown.client.concepts.list(shown.curation.id, order="added", limit=1))
    yield concept
    shown.client.feedback.undo(shown.curation.vocabulary, concept.concept)


def concept_path(shown: Shown, name: str) -> str:
    return links.concept(shown.curation.id, name)


def vocabulary_path(shown: Shown) -> str:
    return links.vocabulary(shown.curation.vocabulary)


def hints(page: PageDocument) -> list[str]:
    return [element.text for element in page.all("div", class_="hint")]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": "merge", "into": "zzz"}, "The vocabulary has no such concept."),
        ({"action": "merge", "into": ""}, "Into: nothing is entered."),
        ({"action": "block", "author": "a\x01b"}, "author: it holds"),
        ({"action": "block", "note": "x" * 2001}, "Note: longer than 2,000 characters."),
    ],
)
def test_feedback__that_is_wrong__is_told_in_words_for_people(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency, form: dict[str, str], words: str
) -> None:
    answer = http.post(concept_path(shown, gained.concept), data=form)
    assert answer.status_code == 422
    said = PageDocument(answer.text).first("div", class_="problem").text
    assert words.lower() in said.lower()
    assert not any(word in said for word in ("/v1/", "Value error", "String"))


def test_a_concept_shows_what_the_api_says(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    page = page_at(http, concept_path(shown, gained.concept))
    detail = shown.client.concepts.get(shown.curation.id, gained.concept)
    assert page.first("h1").text == gained.concept
    assert [figure.text for figure in page.all("dd")] == [
        f"{count(detail.captions)} → {count(detail.archives)}",
        signed(detail.added),
        f"{count(detail.captions_rank or 0)} → {count(detail.archives_rank or 0)}",
    ]
    effect = shown.client.concepts.effect(shown.curation.id, "block", gained.concept)
    (block,) = (line.text for line in page.all("p") if line.text.startswith("Block"))
    assert f"{count(effect.archives)} archives shrink" in block
    # A parsed text has plain spaces only.
    assert f"{' '.join(percent(effect.draws.share, 1).split())} of draws change" in block
    bars = page.all("rect", class_="column")
    assert len(bars) == len(detail.histogram.counts)
    assert detail.similar is not None
    text = page.first("main").text
    assert all(other.name in text for other in detail.similar[:8])


def test_strips_hold_the_archives_that_they_name(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    path = concept_path(shown, gained.concept)
    page = page_at(http, path)
    for title, added, order in (
        ("In the caption", False, "-score"),
        ("Gained, best", True, "-score"),
        ("Gained, lowest", True, "score"),
    ):
        cards = shown.client.archives.card_page(
            shown.curation.id, concept=gained.concept, added=added, order=order, limit=6
        ).items
        (strip,) = (part for part in page.all("section") if part.text.startswith(title))
        captions = [caption.text for caption in page.all("span", class_="caption") if strip in caption.around]
        assert captions == [" ".join(card.caption.split()) for card in cards]
        (whole,) = (link for link in page.all("a") if strip in link.around and link.text.startswith("all"))
        grid = page_at(http, urljoin(path, whole.attributes["href"]))
        assert whole.text == f"all {grid.first('span', id='total').text.split(' of ')[0]}"


def test_a_bar_leads_to_its_scores_and_higher_ones(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    path = concept_path(shown, gained.concept)
    page = page_at(http, path)
    counts = shown.client.concepts.get(shown.curation.id, gained.concept).histogram.counts
    leading = [link for link in page.all("a") if link.attributes.get("aria-label", "").endswith(" on")]
    for position in (0, len(counts) // 2, len(counts) - 1):
        grid = page_at(http, urljoin(path, leading[position].attributes["href"]))
        assert grid.first("span", id="total").text.split(" of ")[0] == count(sum(counts[position:]))


def test_block_and_undo(shown: Shown, http: httpx.Client, gained: ConceptFrequency) -> None:
    path = concept_path(shown, gained.concept)
    assert hints(page_at(http, path)) == []
    answer = http.post(path, data={"action": "block", "note": "too vague", "author": "Ana & co"})
    assert answer.status_code == 303
    assert urljoin(path, answer.headers["location"]) == path
    note = shown.client.feedback.get(shown.curation.vocabulary, gained.concept)
    assert (note.action, note.note, note.author) == ("block", "too vague", "Ana & co")
    page = page_at(http, path)
    (hint,) = hints(page)
    assert "blocked by Ana & co" in hint
    assert "too vague" in hint
    assert page.first("input", name="author").attributes["value"] == "Ana & co"
    assert http.post(path, data={"action": "undo"}).status_code == 303
    assert hints(page_at(http, path)) == []
    assert list(shown.client.feedback.list(shown.curation.vocabulary)) == []


def test_the_later_of_two_notes_wins_and_says_so(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    path = concept_path(shown, gained.concept)
    other = next(
        concept.concept
        for concept in shown.client.concepts.list(shown.curation.id)
        if concept.concept != gained.concept
    )
    http.post(path, data={"action": "block", "author": "Ana"})
    http.post(path, data={"action": "merge", "into": other, "author": "Ben"})
    (hint,) = hints(page_at(http, path))
    assert f"merged into {other} by Ben" in hint
    assert "Before that: blocked by Ana" in hint


def test_the_effect_of_a_merge_is_told_before_it_is_made(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    path = concept_path(shown, gained.concept)
    (into, *_) = [
        concept.concept
        for concept in shown.client.concepts.list(shown.curation.id)
        if concept.concept != gained.concept
    ]
    effect = shown.client.concepts.effect(shown.curation.id, "merge", gained.concept, into=into)
    page = page_at(http, path, params={"into": into})
    (line,) = (line.text for line in page.all("p") if line.text.startswith("Merge into"))
    assert f"into {into}: {count(effect.archives)} archives change ({count(effect.shrunk)} hold both)" in line
    unknown = page_at(http, path, params={"into": "no such thing"})
    assert "“no such thing” is no other concept" in unknown.first("div", class_="problem").text
    assert list(shown.client.feedback.list(shown.curation.vocabulary)) == []


@pytest.mark.parametrize(
    "form",
    [
        {"action": "merge", "into": "no such thing"},
        {"action": "merge", "into": ""},
        {"action": "merge"},
        {"action": "block", "note": "x" * 2001},
        {"action": "block", "note": "two\nlines"},
        {"action": "block", "author": "\u202eanA"},
    ],
)
def test_what_is_refused_is_told_in_place(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency, form: dict[str, str]
) -> None:
    answer = http.post(concept_path(shown, gained.concept), data=form)
    assert answer.status_code == 422
    page = PageDocument(answer.text)
    assert page.first("h1").text == gained.concept
    assert page.first("div", class_="problem").text
    assert list(shown.client.feedback.list(shown.curation.vocabulary)) == []


def test_from_a_wrong_concept_to_the_next_version(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    http.post(concept_path(shown, gained.concept), data={"action": "block", "author": "Ana"})
    path = vocabulary_path(shown)
    page = page_at(http, path)
    assert gained.concept in page.first("section").text
    (form,) = (
        element.around[-2] if element.around[-1].tag == "p" else element.around[-1]
        for element in page.all("button")
        if element.text.startswith("Next version")
    )
    dataset = next(
        field.attributes["value"] for field in page.all("input", name="dataset") if form in field.around
    )
    # Other tests curate other datasets with this vocabulary.
    runs = shown.client.curations.list(state=("completed",))
    assert dataset in {run.dataset for run in runs if run.vocabulary == shown.curation.vocabulary}
    answer = http.post(urljoin(path, form.attributes["action"]), data={"dataset": dataset})
    assert answer.status_code == 303
    following = urljoin(path, answer.headers["location"])
    after = shown.client.vocabularies.next_version(shown.curation.vocabulary)
    assert following == links.vocabulary(after.id, dataset_id=dataset)
    new = page_at(http, following)
    curate = links.curate(dataset, after.id)
    assert curate in {urljoin(following, link.attributes["href"]) for link in new.all("a")}
    assert gained.concept not in [cell.text for cell in new.all("td")]


def test_undo_on_the_page_of_the_vocabulary(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    http.post(concept_path(shown, gained.concept), data={"action": "block"})
    answer = http.post(vocabulary_path(shown), data={"undo": gained.concept})
    assert answer.status_code == 303
    assert list(shown.client.feedback.list(shown.curation.vocabulary)) == []
    assert "Nothing was said" in page_at(http, vocabulary_path(shown)).first("main").text


def test_concepts_are_looked_up_by_how_they_begin(shown: Shown, http: httpx.Client) -> None:
    names = [concept.name for concept in shown.client.vocabularies.concepts(shown.curation.vocabulary)]
    for prefix in ("b", names[-1], "", "no such thing", "zzz<b>"):
        listed = []
        path = links.vocabulary(shown.curation.vocabulary, prefix=prefix)
        while True:
            page = page_at(http, path)
            part = page.first("div", id="concepts")
            listed += [
                row.text for row in page.all("td") if part in row.around and "muted" not in row.classes
            ]
            following = [link for link in page.all("a", rel="next") if part in link.around]
            if not following:
                break
            path = urljoin(path, following[0].attributes["href"])
        assert listed == [name for name in names if name.startswith(prefix)]


def test_hostile_names_are_shown_and_taken_as_they_are(shown: Shown, http: httpx.Client) -> None:
    for concept in shown.client.concepts.list(shown.hostile.id):
        path = links.concept(shown.hostile.id, concept.concept)
        page = page_at(http, path)
        assert page.first("h1").text == " ".join(concept.concept.split())
        assert (page.misplaced, page.unclosed, page.code, page.unlabelled) == ([], [], [], [])
        assert http.post(path, data={"action": "allow"}).status_code == 303
        note = shown.client.feedback.get(shown.hostile.vocabulary, concept.concept)
        assert note.concept == concept.concept
    page = page_at(http, links.vocabulary(shown.hostile.vocabulary))
    assert (page.misplaced, page.unclosed, page.code, page.unlabelled) == ([], [], [], [])
    for note in shown.client.feedback.list(shown.hostile.vocabulary):
        shown.client.feedback.undo(shown.hostile.vocabulary, note.concept)


def test_a_concept_that_is_not_there(shown: Shown, http: httpx.Client) -> None:
    for path in (
        concept_path(shown, "no such thing"),
        f"/curations/missing/concepts/{segment('a/b')}",
        "/vocabularies/missing",
    ):
        page_at(http, path, status=404)
        assert http.post(path, data={"action": "block"}).status_code == 404


def test_the_inspector_and_the_grid_lead_to_the_concept(
    shown: Shown, http: httpx.Client, gained: ConceptFrequency
) -> None:
    grid = f"{shown.grid}?concept={segment(gained.concept)}"
    target = concept_path(shown, gained.concept)
    page = page_at(http, grid)
    assert target in {urljoin(grid, link.attributes["href"]) for link in page.all("a")}
    card = next(link.attributes["href"] for link in page.all("a", class_="card"))
    inspector = urljoin(grid, card)
    names = page_at(http, inspector).all("a", class_="name")
    assert target in {urljoin(inspector, name.attributes["href"]) for name in names}
