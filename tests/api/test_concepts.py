"""Concepts of a curation over HTTP, against its archives and captions."""

from __future__ import annotations

from collections import Counter
from typing import get_args
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import CAPTIONS, VOCABULARY, Curated
from tests.api.test_hostile_requests import TEXT, well_answered

from cocu.api.server import LocalServer
from cocu.client import CocuClient, NotFoundError
from cocu.client.models import Archive, ConceptOrder
from cocu.storage import paths

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONCEPTS = sorted(VOCABULARY.split())


@pytest.fixture(scope="module")
def archives(client: CocuClient, curated: Curated) -> list[Archive]:
    return list(client.archives.list(curated.curation.id))


def test_list__counts_before_and_after(client: CocuClient, curated: Curated, archives: list[Archive]) -> None:
    found = {each.concept: each for each in client.concepts.list(curated.curation.id)}
    after = Counter(each.concept for archive in archives for each in archive.concepts)
    added = Counter(each.concept for archive in archives for each in archive.added)
    assert set(found) == set(CONCEPTS)
    for name in CONCEPTS:
        assert found[name].captions == sum(name in caption for caption in CAPTIONS.values())
        assert (found[name].archives, found[name].added) == (after[name], added[name])


@pytest.mark.parametrize("order", get_args(ConceptOrder))
def test_list__is_sorted_and_paged(client: CocuClient, curated: Curated, order: ConceptOrder) -> None:
    found = list(client.concepts.list(curated.curation.id, order=order, limit=2))
    by_name = {each.concept: each for each in found}
    if order == "concept":
        expected = CONCEPTS
    else:
        expected = sorted(CONCEPTS, key=lambda name: (-getattr(by_name[name], order), name))
    assert [each.concept for each in found] == expected


def test_concept__its_company_and_its_best_samples(
    client: CocuClient, curated: Curated, archives: list[Archive]
) -> None:
    for name in CONCEPTS:
        detail = client.concepts.get(curated.curation.id, "cats" if name == "cat" else name)
        assert detail.concept == name
        scores = {
            archive.key: each for archive in archives for each in archive.concepts if each.concept == name
        }
        together = Counter(
            each.concept for archive in archives if archive.key in scores for each in archive.concepts
        )
        assert {each.concept: each.archives for each in detail.co_occurring} == {
            other: count for other, count in together.items() if other != name
        }
        for each in detail.co_occurring:
            alone = client.concepts.get(curated.curation.id, each.concept).archives
            assert each.lift == pytest.approx(each.archives * len(archives) / (detail.archives * alone))
        assert [each.score for each in detail.samples] == sorted(
            (each.score for each in scores.values()), reverse=True
        )
        assert {each.key: (each.score, each.added) for each in detail.samples} == {
            key: (each.score, each.added) for key, each in scores.items()
        }
        best = client.concepts.get(curated.curation.id, name, limit=1)
        assert best.samples == detail.samples[:1]


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
    """A curation that was published without indexes gets them when they are first needed."""
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
