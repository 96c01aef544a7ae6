"""Search over HTTP: nearest samples, filters, pages and facets; refused requests."""

from __future__ import annotations

import base64
import json
from collections import Counter

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import CAPTIONS, Curated
from tests.api.test_hostile_requests import TEXT, well_answered
from tests.local_platform import picture

from cocu.api.queries import search as search_module
from cocu.api.server import LocalServer
from cocu.catalog import datasets
from cocu.client import (
    ClientError,
    CocuClient,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from cocu.errors import UnavailableError as StoreUnavailableError
from cocu.schemas import Archive, SearchFilters, SearchRequest

FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "caption": st.lists(st.sampled_from(["dog", "cats", "tree"]), max_size=2),
        "archive": st.lists(st.sampled_from(["dog", "bench", "car", "boats"]), max_size=2),
        "added": st.booleans(),
        # Whole numbers are bounds that the vector store can tell.
        "min_score": st.floats(-0.5, 1.0) | st.integers(-4, 0) | st.sampled_from([-5.0, -1.5]),
    },
)


@pytest.fixture(scope="module")
def archives(client: CocuClient, curated: Curated) -> dict[str, Archive]:
    return {archive.key: archive for archive in client.archives.list(curated.curation.id)}


def satisfies(archive: Archive, filters: SearchFilters) -> bool:
    """A plain implementation of filters."""
    names = {"cats": "cat", "boats": "boat"}
    fitting = {
        concept.concept
        for concept in archive.concepts
        if filters.added in (None, concept.added)
        and (filters.min_score is None or concept.score >= filters.min_score)
    }
    some = filters.archive or (filters.added is None and filters.min_score is None) or bool(fitting)
    return (
        bool(some)
        and all(names.get(concept, concept) in archive.caption for concept in filters.caption)
        and {names.get(concept, concept) for concept in filters.archive} <= fitting
    )


def test_sample__finds_every_other_nearest_first(client: CocuClient, curated: Curated) -> None:
    hits = list(client.search.by_sample(curated.dataset.id, "plain", page_size=3))
    assert {hit.key for hit in hits} == CAPTIONS.keys() - {"plain"}
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert all(hit.caption == CAPTIONS[hit.key] for hit in hits)
    neighbours = client.archives.get(curated.curation.id, "plain").neighbours
    assert [hit.key for hit in hits][: len(neighbours)] == [neighbour.key for neighbour in neighbours]
    assert hits[0].similarity == pytest.approx(neighbours[0].similarity, abs=2e-3)


def test_image__finds_the_sample_it_is_of(client: CocuClient, curated: Curated) -> None:
    for seed, key in enumerate(CAPTIONS):
        hit = next(client.search.by_image(curated.dataset.id, picture(seed), limit=1))
        assert hit.key == key
        assert hit.similarity == pytest.approx(1, abs=1e-3)


def test_image__as_a_data_url(http: httpx.Client, curated: Curated) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(picture(2)).decode()
    answer = http.post("/v1/search", json={"dataset": curated.dataset.id, "image": url, "limit": 1})
    assert answer.json()["items"][0]["key"] == list(CAPTIONS)[2]


def test_text__is_embedded_by_the_encoder(client: CocuClient, server: LocalServer, curated: Curated) -> None:
    encoder = server.platform.encoders.get()
    text_D = encoder.embed_texts(["a dog"])[0]
    page = client.search.page(SearchRequest(dataset=curated.dataset.id, text="a dog", limit=3))
    assert page.encoder == "tiny"
    assert page.next is not None
    for hit in page.items:
        stored = server.platform.vectors.search(
            encoder=encoder.hash, tenant="default", dataset=curated.dataset.id, vector_D=text_D
        )
        score = next(point.score for point in stored if point.key == hit.key)
        assert hit.similarity == pytest.approx(score, abs=2e-3)


def remember_store(server: LocalServer, patch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The filters that the vector store was asked with, from now on."""
    asked: list[tuple[object, ...]] = []
    search = server.platform.vectors.search

    def remember(**arguments: object) -> object:
        asked.append(tuple(arguments["concepts"]))  # type: ignore[arg-type]
        return search(**arguments)  # type: ignore[arg-type]

    patch.setattr(server.platform.vectors, "search", remember)
    return asked


def told_by_store(filters: SearchFilters) -> bool:
    """Whether payloads tell these filters: concepts that score at least a whole number within the bands."""
    return bool(
        filters.archive
        and not filters.caption
        and filters.added is not False
        and filters.min_score in (-4, -3, -2, -1, 0)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters=FILTERS, exact=st.booleans(), limit=st.integers(1, 4))
def test_filters__leave_exactly_what_satisfies_them(
    client: CocuClient,
    server: LocalServer,
    curated: Curated,
    archives: dict[str, Archive],
    filters: dict[str, object],
    exact: bool,
    limit: int,
) -> None:
    """In every way: told by the store, computed from the files, and by skipping candidates of the store."""
    search_filters = SearchFilters.model_validate(filters)
    with pytest.MonkeyPatch.context() as patch:
        asked = remember_store(server, patch)
        patch.setattr(search_module, "MAX_EXACT", 1000 if exact else 0)
        patch.setattr(search_module, "CANDIDATES_PER_QUERY", 2)
        patch.setattr(search_module, "MAX_CANDIDATES", 4)
        hits = list(
            client.search.by_text(
                curated.dataset.id,
                "a dog",
                curation=curated.curation.id,
                filters=search_filters,
                page_size=limit,
            )
        )
    if told_by_store(search_filters):
        assert {len(concepts) for concepts in asked} == {len(search_filters.archive)}
    elif exact and not search_filters.empty:
        assert not asked
    everything = [hit.key for hit in client.search.by_text(curated.dataset.id, "a dog")]
    assert [hit.key for hit in hits] == [
        key for key in everything if satisfies(archives[key], search_filters)
    ]
    for hit in hits:
        best = archives[hit.key].concepts[:10]
        assert [(concept.concept, concept.added) for concept in hit.concepts] == [
            (concept.concept, concept.added) for concept in best
        ]


def test_facets__count_the_archives_of_the_hits(
    client: CocuClient, curated: Curated, archives: dict[str, Archive]
) -> None:
    request = SearchRequest(
        dataset=curated.dataset.id,
        sample="plain",
        curation=curated.curation.id,
        filters=SearchFilters(archive=["dog"]),
        facets=3,
        limit=1,
    )
    page = client.search.page(request)
    holding = [
        archive
        for key, archive in archives.items()
        if key != "plain" and "dog" in [concept.concept for concept in archive.concepts]
    ]
    counts = Counter(concept.concept for archive in holding for concept in archive.concepts)
    assert page.facet_hits == len(holding)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    assert [(facet.concept, facet.hits) for facet in page.facets] == most
    assert not client.search.page(request.model_copy(update={"cursor": page.next})).facets


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "body"),
        ({"text": "a", "sample": "plain"}, "body"),
        ({"text": "a", "filters": {"archive": ["dog"]}}, "body"),
        ({"text": "a", "facets": 5}, "body"),
        ({"text": "a", "encoder": "other"}, "body.encoder"),
        ({"text": "a", "curation": "C", "filters": {"archive": ["zeppelin"]}}, "body.filters.archive"),
        ({"text": "a", "curation": "C", "filters": {"caption": ["zeppelin"]}}, "body.filters.caption"),
        ({"text": "a", "cursor": "AAAA"}, "body.cursor"),
        ({"text": "a", "limit": 201}, "body.limit"),
        ({"text": "a", "what": 1}, "body.what"),
        ({"image": "not base64!"}, "body.image"),
    ],
)
def test_request__that_is_wrong_says_where(
    http: httpx.Client, curated: Curated, wrong: dict[str, object], field: str
) -> None:
    if wrong.get("curation"):
        wrong = {**wrong, "curation": curated.curation.id}
    answer = http.post("/v1/search", json={"dataset": curated.dataset.id, **wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_image__that_is_none_is_refused(client: CocuClient, curated: Curated) -> None:
    for bad in (b"<html>", picture(1)[:100], b"GIF89a" + b"\0" * 20):
        with pytest.raises(InvalidInputError):
            list(client.search.by_image(curated.dataset.id, bad))
    for nothing in (b"", "missing.jpg"):
        with pytest.raises(ClientError, match="image"):
            list(client.search.by_image(curated.dataset.id, nothing))


def test_image__of_several_megabytes_is_taken(http: httpx.Client, curated: Curated) -> None:
    body = {"dataset": curated.dataset.id, "image": base64.b64encode(picture(1, side=2000)).decode()}
    assert len(body["image"]) > 4 << 20
    assert http.post("/v1/search", json=body).status_code == 200
    answer = http.post("/v1/search", json={**body, "image": "A" * (25 << 20)})
    assert answer.status_code == 413
    assert well_answered(answer)


def test_cursor__of_another_request_is_refused(client: CocuClient, curated: Curated) -> None:
    first = SearchRequest(dataset=curated.dataset.id, text="a dog", limit=2)
    cursor = client.search.page(first).next
    other = SearchRequest(dataset=curated.dataset.id, text="a cat", limit=2, cursor=cursor)
    with pytest.raises(InvalidInputError, match=r"body\.cursor"):
        client.search.page(other)


def test_things__of_others_or_missing_are_not_found(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    other = datasets.create(server.platform.catalog, tenant="somebody else", name="theirs").id
    for dataset in (other, "missing", "nul\0", "../x"):
        with pytest.raises(NotFoundError):
            list(client.search.by_text(dataset, "a dog"))
    for key in ("missing", "nul\0"):
        with pytest.raises(NotFoundError):
            list(client.search.by_sample(curated.dataset.id, key))
    for curation in ("missing", "nul\0"):
        with pytest.raises(NotFoundError):
            list(client.search.by_text(curated.dataset.id, "a dog", curation=curation))


def test_curation__of_another_dataset_is_refused(client: CocuClient, curated: Curated) -> None:
    other = client.datasets.create("searched without samples")
    with pytest.raises(ConflictError, match="not indexed"):
        list(client.search.by_text(other.id, "a dog"))
    with pytest.raises(InvalidInputError, match=r"body\.curation"):
        list(client.search.by_text(other.id, "a dog", curation=curated.curation.id))


@pytest.mark.parametrize("curated_only", [False, True])
def test_search__finds_the_same_by_the_store_and_by_the_files(
    client: CocuClient,
    server: LocalServer,
    curated: Curated,
    monkeypatch: pytest.MonkeyPatch,
    curated_only: bool,
) -> None:
    curation = curated.curation.id if curated_only else None

    def found() -> list[tuple[str, float]]:
        hits = client.search.by_sample(curated.dataset.id, "plain", curation=curation, page_size=2)
        return [(hit.key, round(hit.similarity, 3)) for hit in hits]

    by_store = found()
    monkeypatch.setattr(server.platform.vectors, "search", refuse)
    # A small dataset is searched without the store, whatever is asked.
    assert found() == by_store
    assert len(by_store) == len(CAPTIONS) - 1


def refuse(*arguments: object, **names: object) -> object:
    raise StoreUnavailableError("the vector store does not answer: connection refused")


def test_filters__that_the_store_tells_are_told_by_the_files_while_it_is_away(
    client: CocuClient, server: LocalServer, curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = SearchFilters(archive=["dog"], min_score=-4)

    def found() -> list[tuple[str, float]]:
        hits = client.search.by_text(
            curated.dataset.id, "a dog", curation=curated.curation.id, filters=filters
        )
        return [(hit.key, hit.similarity) for hit in hits]

    with pytest.MonkeyPatch.context() as patch:
        asked = remember_store(server, patch)
        by_store = found()
        assert [len(concepts) for concepts in asked] == [1]
    monkeypatch.setattr(server.platform.vectors, "search", refuse)
    assert found() == by_store
    assert by_store


@pytest.fixture
def without_vectors(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector store that does not answer, and a dataset that is too large to be compared as a whole."""
    monkeypatch.setattr(search_module, "MAX_EXACT", 3)
    monkeypatch.setattr(server.platform.vectors, "search", refuse)


@pytest.mark.usefixtures("without_vectors")
def test_vectors__that_do_not_answer_are_a_503(
    http: httpx.Client, server: LocalServer, curated: Curated
) -> None:
    body = {"dataset": curated.dataset.id, "text": "a dog"}
    answer = http.post("/v1/search", json=body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["type"] == "urn:cocu:problem:unavailable"
    with CocuClient(server.url, retries=0) as impatient, pytest.raises(UnavailableError):
        list(impatient.search.by_text(curated.dataset.id, "a dog"))
    filtered = {**body, "curation": curated.curation.id, "filters": {"caption": ["boat"]}}
    assert http.post("/v1/search", json=filtered).json()["items"], "few samples are compared without them"


VALUES = (
    TEXT
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.lists(TEXT, max_size=3)
    | st.fixed_dictionaries({}, optional={"caption": st.lists(TEXT, max_size=2), "added": st.booleans()})
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.dictionaries(
        st.sampled_from(["text", "image", "sample", "encoder", "filters", "facets", "limit", "cursor"]),
        VALUES,
    ),
    dataset=st.none() | TEXT,
    curation=st.none() | st.just("C") | TEXT,
)
def test_requests__of_any_values(
    http: httpx.Client, curated: Curated, fields: dict[str, object], dataset: str | None, curation: str | None
) -> None:
    body = {**fields, "dataset": curated.dataset.id if dataset is None else dataset}
    if curation is not None:
        body["curation"] = curated.curation.id if curation == "C" else curation
    answer = http.post("/v1/search", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert well_answered(answer)
