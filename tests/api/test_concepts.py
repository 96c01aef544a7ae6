"""Concepts of a curation over HTTP, against its archives and captions."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, get_args
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import CAPTIONS, VOCABULARY, Curated
from tests.api.test_hostile_requests import TEXT, well_answered

from cocu.api.queries.histograms import histogram_of
from cocu.api.server import LocalServer
from cocu.client import CocuClient, NotFoundError
from cocu.pipeline import concept_vectors
from cocu.schemas import Archive, ConceptOrder, Histogram, NearConcept
from cocu.storage import paths

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONCEPTS = sorted(VOCABULARY.split())


@pytest.fixture(scope="module")
def archives(client: CocuClient, curated: Curated) -> list[Archive]:
    return list(client.archives.list(curated.curation.id))


def test_list__counts_before_and_after(client: CocuClient, curated: Curated, archives: list[Archive]) -> None:
    concepts = {concept.concept: concept for concept in client.concepts.list(curated.curation.id)}
    after = Counter(concept.concept for archive in archives for concept in archive.concepts)
    added = Counter(concept.concept for archive in archives for concept in archive.added)
    assert set(concepts) == set(CONCEPTS)
    for name in CONCEPTS:
        assert concepts[name].captions == sum(name in caption for caption in CAPTIONS.values())
        assert (concepts[name].archives, concepts[name].added) == (after[name], added[name])


@pytest.mark.parametrize("order", get_args(ConceptOrder))
def test_list__is_sorted_and_paged(client: CocuClient, curated: Curated, order: ConceptOrder) -> None:
    concepts = list(client.concepts.list(curated.curation.id, order=order, page_size=2))
    by_name = {concept.concept: concept for concept in concepts}
    if order == "concept":
        expected = CONCEPTS
    else:
        expected = sorted(CONCEPTS, key=lambda name: (-getattr(by_name[name], order), name))
    assert [concept.concept for concept in concepts] == expected


ARROW = "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize("order", get_args(ConceptOrder))
def test_table__has_what_the_list_and_the_details_have(
    client: CocuClient, curated: Curated, order: ConceptOrder
) -> None:
    rows = client.concepts.table(curated.curation.id, order=order).to_pylist()
    details = [
        client.concepts.get(curated.curation.id, frequency.concept)
        for frequency in client.concepts.list(curated.curation.id, order=order)
    ]
    names = ("concept", "forms", "captions", "archives", "added", "captions_rank", "archives_rank")
    assert rows == [{name: getattr(detail, name) for name in names} for detail in details]


def test_table__is_a_representation_of_its_own(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/curations/{curated.curation.id}/concepts"
    page = http.get(path, headers={"Accept": "*/*"})
    table = http.get(path, headers={"Accept": f"application/json;q=0.5, {ARROW}"})
    assert (page.headers["content-type"], table.headers["content-type"]) == ("application/json", ARROW)
    assert page.headers["etag"] != table.headers["etag"]
    assert http.get(path, headers={"Accept": f"{ARROW};q=0.5, application/json"}).json() == page.json()
    for answer in (page, table):
        assert "accept" in {part.strip().lower() for part in answer.headers["vary"].split(",")}
        assert "immutable" in answer.headers["cache-control"]
    for etag, status in ((table.headers["etag"], 304), (page.headers["etag"], 200)):
        again = http.get(path, headers={"Accept": ARROW, "If-None-Match": etag})
        assert again.status_code == status
    other = http.get(path, headers={"Accept": ARROW}, params={"order": "concept"})
    assert other.headers["etag"] != table.headers["etag"]
    part = http.get(path, headers={"Accept": ARROW, "Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, table.content[4:12])


def test_table__only_of_a_completed_curation(http: httpx.Client) -> None:
    assert http.get("/v1/curations/none/concepts", headers={"Accept": ARROW}).status_code == 404


def test_concept__its_company_and_its_best_samples(
    client: CocuClient, curated: Curated, archives: list[Archive]
) -> None:
    for name in CONCEPTS:
        detail = client.concepts.get(curated.curation.id, "cats" if name == "cat" else name)
        assert detail.concept == name
        scores = {
            archive.key: concept
            for archive in archives
            for concept in archive.concepts
            if concept.concept == name
        }
        together = Counter(
            concept.concept for archive in archives if archive.key in scores for concept in archive.concepts
        )
        assert {other.concept: other.archives for other in detail.co_occurring} == {
            other: count for other, count in together.items() if other != name
        }
        for other in detail.co_occurring:
            alone = client.concepts.get(curated.curation.id, other.concept).archives
            assert other.lift == pytest.approx(other.archives * len(archives) / (detail.archives * alone))
        assert [sample.score for sample in detail.samples] == sorted(
            (score.score for score in scores.values()), reverse=True
        )
        assert {sample.key: (sample.score, sample.added) for sample in detail.samples} == {
            key: (score.score, score.added) for key, score in scores.items()
        }
        best = client.concepts.get(curated.curation.id, name, limit=1)
        assert best.samples == detail.samples[:1]


def test_concept__its_forms_ranks_and_scores(
    client: CocuClient, curated: Curated, archives: list[Archive]
) -> None:
    frequencies = list(client.concepts.list(curated.curation.id))
    forms = {
        concept.name: concept.forms for concept in client.vocabularies.concepts(curated.curation.vocabulary)
    }
    for name in CONCEPTS:
        detail = client.concepts.get(curated.curation.id, name)
        assert detail.forms == forms[name]
        assert detail.captions_rank == 1 + sum(other.captions > detail.captions for other in frequencies)
        assert detail.archives_rank == 1 + sum(other.archives > detail.archives for other in frequencies)
        scores = np.array(
            [added.score for archive in archives for added in archive.added if added.concept == name],
            np.float32,
        )
        edges = np.array(detail.histogram.edges, np.float32)
        assert sum(detail.histogram.counts) == len(scores) == detail.added
        if len(scores):
            assert detail.histogram.counts == np.histogram(scores, edges)[0].tolist()


def test_concept__added_nowhere_has_no_histogram() -> None:
    assert histogram_of(np.zeros(0, np.float32)) == Histogram(edges=[], counts=[])


def test_concept__what_is_near_in_meaning(client: CocuClient, http: httpx.Client, curated: Curated) -> None:
    url = f"/v1/curations/{curated.curation.id}/concepts/dog"
    nearest = client.vocabularies.near(
        curated.curation.vocabulary, concept="dog", curation=curated.curation.id, limit=20
    )
    answer = http.get(url)
    assert [NearConcept.model_validate(near) for near in answer.json()["similar"]] == nearest
    assert "immutable" in answer.headers["cache-control"]
    assert len(http.get(url, params={"limit": 2}).json()["similar"]) == 2


def test_concept__waits_for_nothing(
    client: CocuClient,
    http: httpx.Client,
    server: LocalServer,
    curated: Curated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While embeddings are computed the concept is told without what is near, and may be asked for again."""
    going_on = threading.Event()
    embed = concept_vectors.embed_concepts

    def slowly(*of: Any) -> Any:
        going_on.wait(60)
        return embed(*of)

    monkeypatch.setattr(concept_vectors, "embed_concepts", slowly)
    _, vocabulary = server.platform.vocabularies.load(
        tenant="default", vocabulary=curated.curation.vocabulary
    )
    server.platform.objects.delete(paths.concept_embeddings(curated.curation.encoder_hash, vocabulary.hash))
    url = f"/v1/curations/{curated.curation.id}/concepts/dog"
    without = http.get(url)
    assert (without.json()["concept"], without.json()["similar"]) == ("dog", None)
    assert "no-cache" in without.headers["cache-control"]
    going_on.set()
    client.vocabularies.near(curated.curation.vocabulary, concept="dog")
    again = http.get(url, headers={"If-None-Match": without.headers["etag"]})
    assert again.status_code == 200
    assert again.json()["similar"]


def test_concept__that_is_not_there(client: CocuClient, curated: Curated) -> None:
    for concept in ("zeppelin", "nul\0", "a/b", "%", "x" * 10_000):
        with pytest.raises(NotFoundError):
            client.concepts.get(curated.curation.id, concept)
    with pytest.raises(NotFoundError):
        client.concepts.get("missing", "dog")


def test_concepts__are_immutable_for_caches(http: httpx.Client, curated: Curated) -> None:
    for path in ("concepts", "concepts/dog"):
        url = f"/v1/curations/{curated.curation.id}/{path}"
        first = http.get(url)
        assert "immutable" in first.headers["cache-control"]
        assert http.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        assert http.get(url, params={"limit": 3}, headers={"If-None-Match": first.headers["etag"]}).content


def test_concepts__do_without_the_index_of_publish(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    """A curation published without indexes gets them at their first use."""
    before = client.concepts.get(curated.curation.id, "dog")
    for path in server.platform.objects.list(f"{paths.curation(curated.curation.id)}/indexes"):
        server.platform.objects.delete(path)
    assert client.concepts.get(curated.curation.id, "dog") == before


@QUICK
@given(
    concept=TEXT,
    query=st.dictionaries(st.sampled_from(["limit", "cursor", "order"]), TEXT | st.just("archives")),
)
def test_requests__of_any_values(
    http: httpx.Client, curated: Curated, concept: str, query: dict[str, str]
) -> None:
    for path in (
        f"/v1/curations/{curated.curation.id}/concepts",
        f"/v1/curations/{curated.curation.id}/concepts/{quote(concept, safe='', errors='surrogatepass')}",
    ):
        assert well_answered(http.get(path, params=query))
