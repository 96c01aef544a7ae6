"""A view has one URL, and its URL has that view; what cannot be read is left out and said."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown

from cocu.dashboard import links
from cocu.dashboard.links import MAX_CONCEPTS, OF_A_CONCEPT, ORDERS, VERDICTS, ArchiveQuery

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
SCORES = st.floats(-50, 50, allow_nan=False).map(lambda score: float(f"{score:g}"))


@st.composite
def queries(draw: st.DrawFn) -> ArchiveQuery:
    """Queries that a page can have made."""
    concepts = tuple(draw(st.lists(TEXTS, max_size=MAX_CONCEPTS, unique=True)))
    labels = draw(st.sampled_from([None, "by-hand", "v1.2_x"]))
    orders = [order for order in ORDERS if concepts or order not in OF_A_CONCEPT]
    return ArchiveQuery(
        concepts=concepts,
        where=draw(st.sampled_from(["archive", "added", "caption"])),
        min_score=draw(st.none() | SCORES),
        changed=draw(st.sampled_from([None, True, False])),
        order=draw(st.sampled_from(orders)),
        after=draw(st.none() | TEXTS),
        labels=labels,
        verdict=draw(st.sampled_from([None, *VERDICTS])) if labels else None,
    )


def read(url: str) -> ArchiveQuery:
    return ArchiveQuery.read(QueryParams(urlsplit(url).query))


@given(queries())
def test_query__is_read_back_from_its_url(query: ArchiveQuery) -> None:
    again = read(query.grid("c"))
    assert again == query
    assert again.notes == ()
    assert again.grid("c") == query.grid("c")


@given(queries(), TEXTS)
def test_archive__is_a_member_of_its_list_whatever_its_key(query: ArchiveQuery, key: str) -> None:
    url = query.archive("c", key)
    path = urlsplit(url).path
    assert path.count("/") == 4
    assert unquote(path.rsplit("/", 1)[1]) == key
    # A browser takes `.` and `..` out of a path, also where they are encoded: `%2E` is what it leaves.
    assert path.rsplit("/", 1)[1] not in {".", ".."}
    members = read(url)
    assert (members.concepts, members.order, members.after) == (query.concepts, query.order, None)


@given(queries(), TEXTS)
def test_filters__start_at_the_first_page(query: ArchiveQuery, name: str) -> None:
    for changed in (query.with_concept(name), query.without_concept(name), query.changed_to(where="added")):
        assert changed.after is None
        assert read(changed.grid("c")) == changed or len(changed.concepts) > MAX_CONCEPTS


def test_defaults__are_left_out_in_one_order() -> None:
    assert ArchiveQuery().grid("c") == "/curations/c/archives"
    full = ArchiveQuery(("dog", "cat"), "added", -1.0, True, order="-gain", after="x")
    assert urlsplit(full.grid("c")).query == (
        "concept=dog&concept=cat&in=added&min_score=-1&changed=true&order=-gain&after=x"
    )
    explicit = QueryParams("order=sample&in=archive&min_score=&concept=&after=&unknown=1")
    assert ArchiveQuery.read(explicit) == ArchiveQuery()


@given(st.dictionaries(st.sampled_from(["in", "order", "min_score", "changed", "after", "x"]), st.text()))
def test_any_query__is_read_without_an_error(parameters: dict[str, str]) -> None:
    query = ArchiveQuery.read(QueryParams(parameters))
    assert read(query.grid("c")) == query


@pytest.mark.parametrize("score", ["-1", "\u22121", "-1,0", "-1.00"])
def test_scores__are_read_as_people_write_them(score: str) -> None:
    assert ArchiveQuery.read(QueryParams({"min_score": score})).min_score == -1.0


@pytest.mark.parametrize(
    "query",
    [
        "min_score=high",
        "min_score=nan",
        "min_score=inf",
        "min_score=1e999",
        "in=everywhere",
        "order=random",
        "order=score",
        "&".join(f"concept=c{number}" for number in range(9)),
    ],
)
def test_malformed_parameters__give_the_page_with_a_note(
    shown: Shown, http: httpx.Client, query: str
) -> None:
    answer = http.get(f"{shown.grid}?{query}")
    assert answer.status_code == 200
    notes = PageDocument(answer.text).all("div", role="status")
    assert len(notes) == 1
    assert notes[0].text


@pytest.mark.parametrize(
    "query", ["unknown=1", "concept=nothing-of-the-kind", "seed=-1", "seed=x", "min_score=999"]
)
def test_unknown_parameters__are_no_error(shown: Shown, http: httpx.Client, query: str) -> None:
    assert http.get(f"{shown.grid}?{query}").status_code == 200
    key = shown.client.archives.card_page(shown.curation.id, limit=1).items[0].key
    assert http.get(f"{shown.grid}/{key}?{query}").status_code == 200


@pytest.mark.parametrize(
    "query", ["after=%00", "after=nonsense", "min_score=1e300", "concept=%00", "concept=" + "x" * 5000]
)
def test_hostile_parameters__are_told_as_a_page(shown: Shown, http: httpx.Client, query: str) -> None:
    answer = http.get(f"{shown.grid}?{query}")
    assert answer.status_code in {200, 400, 404, 422}, answer.status_code
    page = PageDocument(answer.text)
    assert len(page.all("h1")) == 1
    assert page.code == []


def test_dots__are_not_taken_out_of_a_path() -> None:
    assert links.segment("..") == "%2E%2E"
    assert links.dataset("a/b?c#d") == "/datasets/a%2Fb%3Fc%23d"


def test_form_of_the_grid__leads_to_the_url_of_the_view(shown: Shown, http: httpx.Client) -> None:
    """What a browser sends for the form, empty fields too, is the view that the short URL has."""
    query = ArchiveQuery(min_score=-5.0, where="added", order="-gain")
    page = PageDocument(http.get(query.grid(shown.curation.id)).text)
    sent = [
        (element.attributes["name"], element.attributes.get("value", ""))
        for element in page.elements
        if element.tag == "input" and any("filters" in outer.classes for outer in element.around)
    ]
    for select in page.all("select"):
        chosen = [o for o in page.all("option", selected="") if select in o.around]
        assert len(chosen) == 1
        sent.append((select.attributes["name"], chosen[0].attributes["value"]))
    assert ArchiveQuery.read(QueryParams(sent)) == query
    assert dict(parse_qsl(urlsplit(query.grid("c")).query)).keys() == {"min_score", "in", "order"}
