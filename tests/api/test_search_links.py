"""Searches that are links: by the vector of an answer, and by GET with the answer of POST."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import CAPTIONS, Curated
from tests.api.test_hostile_requests import TEXT, well_answered
from tests.local_platform import picture

from cocu.api.queries.query_vectors import decode_vector, encode_vector
from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.encoders.registry import EncoderDescription
from cocu.errors import InvalidInputError
from cocu.schemas import SearchRequest


def encoder_of(dim: int) -> EncoderDescription:
    return EncoderDescription(name="some", hash="0" * 64, dim=dim, license="", source="")


def tolerance(vector_D: np.ndarray[Any, Any]) -> float:
    """How far a cosine can be off: half a step of int8 for every number, and as much for the length."""
    return float(2 * np.sqrt(len(vector_D)) * np.abs(vector_D).max() / 254)


@pytest.mark.parametrize(("dim", "characters"), [(1, 2), (3, 4), (512, 683), (768, 1024), (1280, 1707)])
def test_vector__comes_back_up_to_its_rounding(dim: int, characters: int) -> None:
    generator = np.random.default_rng(dim)
    vector_D = generator.normal(size=dim).astype(np.float32)
    vector_D /= np.linalg.norm(vector_D)
    text = encode_vector(vector_D)
    assert len(text) == characters
    decoded_D = decode_vector(text, encoder_of(dim))
    assert np.linalg.norm(decoded_D) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(decoded_D - vector_D) <= tolerance(vector_D)
    if dim >= 512:
        # What the tolerance promises is far more than what is usual: one percent.
        assert np.linalg.norm(decoded_D - vector_D) < 0.02
    # What an answer says again is the same text, with padding or without.
    assert encode_vector(decoded_D) == text
    assert np.array_equal(decode_vector(text + "=" * (-len(text) % 4), encoder_of(dim)), decoded_D)


@given(st.binary(min_size=4, max_size=4))
def test_vector__of_any_bytes_is_taken_or_refused(raw: bytes) -> None:
    text = base64.urlsafe_b64encode(raw).decode()
    if raw == bytes(4):
        with pytest.raises(InvalidInputError):
            decode_vector(text, encoder_of(4))
    else:
        decoded_D = decode_vector(text, encoder_of(4))
        assert np.isfinite(decoded_D).all()
        assert encode_vector(decode_vector(encode_vector(decoded_D), encoder_of(4))) == encode_vector(
            decoded_D
        )


@pytest.mark.parametrize("key", list(CAPTIONS))
def test_hits__by_the_vector_are_those_of_the_sample(
    client: CocuClient, server: LocalServer, curated: Curated, key: str
) -> None:
    request = SearchRequest(dataset=curated.dataset.id, sample=key, limit=200)
    by_sample = client.search.page(request)
    assert by_sample.vector is not None
    by_vector = client.search.page(
        SearchRequest(dataset=curated.dataset.id, vector=by_sample.vector, limit=200)
    )
    similarities = {hit.key: hit.similarity for hit in by_vector.items}
    assert by_vector.vector == by_sample.vector
    # The sample itself is not left out: a vector does not tell whose it is.
    assert by_vector.items[0].key == key
    assert similarities.keys() == CAPTIONS.keys()
    dim = next(encoder.dim for encoder in client.encoders.list() if encoder.name == by_sample.encoder)
    off = tolerance(decode_vector(by_sample.vector, encoder_of(dim)))
    for hit in by_sample.items:
        assert similarities[hit.key] == pytest.approx(hit.similarity, abs=off)
    order = [hit for hit in by_sample.items if hit.key != key]
    for nearer, farther in pairwise(order):
        assert similarities[farther.key] <= similarities[nearer.key] + 2 * off


def test_an_image__is_searched_for_again_by_its_vector(client: CocuClient, curated: Curated) -> None:
    page = client.search.page(
        SearchRequest(dataset=curated.dataset.id, image=base64.b64encode(picture(3)).decode(), limit=1)
    )
    assert page.vector is not None
    again = list(client.search.by_vector(curated.dataset.id, page.vector, limit=3))
    assert again[0].key == page.items[0].key == list(CAPTIONS)[3]


QUERIES: list[dict[str, Any]] = [
    {"text": "a dog"},
    {"sample": "folder/inside", "limit": 3},
    {"sample": "été-日本", "curation": "C", "facets": 3},
    {"text": "a cat & a dog?", "curation": "C", "caption": ["dog"], "limit": 1},
    {"text": "a dog", "curation": "C", "archive": ["dog", "bench"], "added": True},
    {"text": "a dog", "curation": "C", "archive": ["dogs"], "added": False, "min_score": -1.5},
    {"text": "a dog", "encoder": "tiny"},
    {"vector": "V", "curation": "C", "limit": 2},
]


@pytest.mark.parametrize("query", QUERIES)
def test_get__answers_as_post_does(
    http: httpx.Client, client: CocuClient, curated: Curated, query: dict[str, Any]
) -> None:
    known: dict[str, Any] = {"dataset": curated.dataset.id}
    if "curation" in query:
        known["curation"] = curated.curation.id
    if "vector" in query:
        known["vector"] = client.search.page(SearchRequest(dataset=curated.dataset.id, text="a boat")).vector
    query = {**query, **known}
    names = ("caption", "archive", "added", "min_score")
    body = {name: value for name, value in query.items() if name not in names}
    body["filters"] = {name: query[name] for name in names if name in query}
    by_get, by_post = http.get("/v1/search", params=query), http.post("/v1/search", json=body)
    assert by_get.status_code == by_post.status_code == 200
    assert by_get.json() == by_post.json()
    cursor = by_get.json()["next"]
    if cursor is not None:
        # The cursor of one is that of the other.
        rest = http.get("/v1/search", params={**query, "cursor": cursor})
        assert rest.json() == http.post("/v1/search", json={**body, "cursor": cursor}).json()
        assert rest.json()["items"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "query"),
        ({"text": "a", "sample": "plain"}, "query"),
        ({"text": "a", "vector": "AQAB"}, "query"),
        ({"text": "a", "archive": "dog"}, "query"),
        ({"text": "a", "encoder": "other"}, "query.encoder"),
        ({"text": "a", "curation": "C", "archive": "zeppelin"}, "query.archive"),
        ({"text": "a", "curation": "C", "caption": ["dog", "zeppelin"]}, "query.caption"),
        ({"text": "a", "curation": "C", "caption": ""}, "query.caption.0"),
        ({"text": "a", "curation": "C", "min_score": "nan"}, "query.min_score"),
        ({"text": "a", "curation": "C", "added": "perhaps"}, "query.added"),
        ({"text": "a", "cursor": "AAAA"}, "query.cursor"),
        ({"text": "a", "limit": "201"}, "query.limit"),
        ({"text": ["a", "b"]}, "query.text"),
        ({"text": ""}, "query.text"),
        ({"image": "AAAA"}, "query.image"),
        ({"text": "a", "filters": "{}"}, "query.filters"),
        ({"vector": "AQAB"}, "query.vector"),
        ({"vector": "AQABA"}, "query.vector"),
        ({"vector": "A"}, "query.vector"),
        ({"vector": "not base64!"}, "query.vector"),
        ({"vector": "A" * 20_000}, "query.vector"),
        ({"vector": "ZERO"}, "query.vector"),
    ],
)
def test_get__that_is_wrong_says_where(
    http: httpx.Client, client: CocuClient, curated: Curated, wrong: dict[str, Any], field: str
) -> None:
    query = {"dataset": curated.dataset.id, **wrong}
    if "curation" in wrong:
        query["curation"] = curated.curation.id
    if wrong.get("vector") == "ZERO":
        dim = next(client.encoders.list()).dim
        query["vector"] = base64.urlsafe_b64encode(bytes(dim)).decode()
    answer = http.get("/v1/search", params=query)
    assert answer.status_code == 422
    assert field in [problem["field"] for problem in answer.json()["errors"]]


def test_get__of_what_is_not_there(http: httpx.Client, curated: Curated) -> None:
    for query in (
        {"dataset": "0" * 26, "text": "a dog"},
        {"dataset": curated.dataset.id, "sample": "missing"},
        {"dataset": curated.dataset.id, "text": "a dog", "curation": "0" * 26},
    ):
        assert http.get("/v1/search", params=query).status_code == 404


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.dictionaries(
        st.sampled_from(
            [
                "text",
                "sample",
                "vector",
                "encoder",
                "caption",
                "archive",
                "added",
                "min_score",
                "limit",
                "cursor",
            ]
        ),
        TEXT | st.integers() | st.floats() | st.booleans(),
    ),
    is_curated=st.booleans(),
)
def test_get__of_any_values(
    http: httpx.Client, curated: Curated, query: dict[str, Any], is_curated: bool
) -> None:
    of_curation = {"curation": curated.curation.id} if is_curated else {}
    sent = {name: str(value).encode("utf-8", "replace") for name, value in query.items()}
    answer = http.get("/v1/search", params={"dataset": curated.dataset.id, **of_curation, **sent})
    assert well_answered(answer)
