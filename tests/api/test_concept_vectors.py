"""Concepts by what they mean, over HTTP: nearest ones, merge candidates, gaps."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.api.conftest import Curated
from tests.local_platform import tar_of_samples

from cocu.api.background import Background
from cocu.api.queries import Concepts, Samples
from cocu.api.queries import concept_vectors as queries
from cocu.api.server import LocalServer
from cocu.catalog import curations
from cocu.client import CocuClient
from cocu.encoders.concepts import embed_concepts
from cocu.errors import NotFoundError
from cocu.pipeline import concept_vectors
from cocu.schemas import Vocabulary
from cocu.storage import arrays, paths
from cocu.vectors import ConceptVectors

WORDS = ("dog", "cat", "bench", "tree", "car", "boat", "photo", "dog boat", "cat car", "tree bench")


@pytest.fixture
def own(client: CocuClient, tmp_path: Path, request: pytest.FixtureRequest) -> Vocabulary:
    """A vocabulary that no other test has."""
    file = tmp_path / "own.txt"
    file.write_text("\n".join([*WORDS, f"test {request.node.name}"[:100]]))
    return client.vocabularies.from_file(file)


@pytest.fixture
def vocabulary(curated: Curated) -> str:
    return curated.curation.vocabulary


def get(http: httpx.Client, path: str, status: int = 200, **params: Any) -> Any:
    """The answer; asks again while it is computed."""
    end = time.monotonic() + 60
    while True:
        answer = http.get(f"/v1/vocabularies/{path}", params=params)
        if answer.status_code != 503 or status == 503 or time.monotonic() > end:
            assert answer.status_code == status, answer.text
            return answer.json()
        assert int(answer.headers["Retry-After"]) > 0
        time.sleep(0.1)


def await_points(server: LocalServer, vocabulary: Vocabulary) -> None:
    """Wait until the store has every concept, and let that be believed."""
    store = ConceptVectors(server.platform.vectors)
    encoder = server.platform.encoders.describe().hash
    end = time.monotonic() + 30
    while store.count(encoder=encoder, tenant="default", vocabulary=vocabulary.id) < vocabulary.concepts:
        assert time.monotonic() < end
        time.sleep(0.05)


def expected(server: LocalServer, vocabulary: str, query_D: np.ndarray) -> list[tuple[str, float]]:
    """Every concept and its cosine with a vector, by comparing all."""
    _, loaded = server.platform.vocabularies.load(tenant="default", vocabulary=vocabulary)
    tower = server.platform.encoders.get()
    concepts_VD = embed_concepts(tower, loaded.prompts()).astype(np.float64)
    cosines_V = concepts_VD @ (query_D.astype(np.float64) / np.linalg.norm(query_D.astype(np.float64)))
    order_V = np.lexsort((np.arange(len(cosines_V)), -cosines_V))
    return [(loaded.names[concept], float(cosines_V[concept])) for concept in order_V.tolist()]


def assert_ranked(items: list[dict[str, Any]], ranked: list[tuple[str, float]]) -> None:
    assert [item["name"] for item in items] == [name for name, _ in ranked]
    assert [item["similarity"] for item in items] == pytest.approx([cosine for _, cosine in ranked], abs=1e-6)


@pytest.mark.parametrize("stored", [False, True], ids=["from the files", "from the store"])
def test_near__is_the_order_of_all_cosines(
    http: httpx.Client,
    server: LocalServer,
    own: Vocabulary,
    curated: Curated,
    monkeypatch: pytest.MonkeyPatch,
    stored: bool,
) -> None:
    monkeypatch.setattr(queries, "CHECK_SECONDS", 0.001)
    monkeypatch.setattr(queries, "MORE", 2)
    get(http, f"{own.id}/near", text="dog")
    if stored:
        await_points(server, own)
    else:
        monkeypatch.setattr(queries.ConceptSpace, "_is_complete", lambda self, space: False)
    asked: list[int] = []
    search = ConceptVectors.near
    monkeypatch.setattr(
        ConceptVectors, "near", lambda self, **of: asked.append(of["limit"]) or search(self, **of)
    )
    tower = server.platform.encoders.get()
    text_D = tower.embed_texts(["a photo of a dog"])[0]
    assert_ranked(
        get(http, f"{own.id}/near", text="dog", limit=4)["items"], expected(server, own.id, text_D)[:4]
    )
    ranked = [entry for entry in expected(server, own.id, text_D) if entry[0] != "dog"]
    assert_ranked(get(http, f"{own.id}/near", concept="dogs", limit=3)["items"], ranked[:3])
    assert_ranked(get(http, f"{own.id}/near", concept="dog", limit=1000)["items"], ranked)
    sample = http.get(f"/v1/datasets/{curated.dataset.id}/samples/plain").json()
    path = paths.embeddings(curated.dataset.id, tower.hash, sample["shard"])
    image_D = arrays.read_embeddings(server.platform.objects, path)[sample["row"]]
    of_sample = get(http, f"{own.id}/near", dataset=curated.dataset.id, sample="plain", limit=5)
    assert_ranked(of_sample["items"], expected(server, own.id, image_D)[:5])
    assert bool(asked) == stored


def test_near__says_forms_and_how_often_a_curation_names_each(
    http: httpx.Client, server: LocalServer, curated: Curated, vocabulary: str
) -> None:
    counted = {
        item["concept"]: (item["captions"], item["archives"], item["added"])
        for item in http.get(f"/v1/curations/{curated.curation.id}/concepts").json()["items"]
    }
    record, _ = server.platform.vocabularies.load(tenant="default", vocabulary=vocabulary)
    for _ in range(2):  # from the files, then from the points of the store
        items = get(http, f"{vocabulary}/near", text="dog", curation=curated.curation.id)["items"]
        assert {
            item["name"]: (item["captions"], item["archives"], item["added"]) for item in items
        } == counted
        assert items[0]["forms"] == ["dog", "dogs"]
        await_points(server, record)  # type: ignore[arg-type]
    without = get(http, f"{vocabulary}/near", text="dog")["items"][0]
    assert without["captions"] is without["archives"] is without["added"] is None


def test_near__points_have_what_a_curation_counted(
    http: httpx.Client, server: LocalServer, curated: Curated, vocabulary: str
) -> None:
    get(http, f"{vocabulary}/near", text="dog", curation=curated.curation.id)
    record, _ = server.platform.vocabularies.load(tenant="default", vocabulary=vocabulary)
    await_points(server, record)  # type: ignore[arg-type]
    published = curations.get(server.platform.catalog, tenant="default", curation_id=curated.curation.id)
    tower = server.platform.encoders.get()
    (found,) = ConceptVectors(server.platform.vectors).near(
        encoder=tower.hash,
        tenant="default",
        vocabulary=record.id,
        vector_D=tower.embed_texts(["a photo of a dog"])[0],
        limit=1,
        curation=concept_vectors.version_of(published),
    )
    frequency = http.get(f"/v1/curations/{curated.curation.id}/concepts/dog").json()
    assert (found.name, found.forms) == ("dog", ("dog", "dogs"))
    assert found.frequency == (frequency["captions"], frequency["archives"], frequency["added"])


def test_near__a_store_that_lost_the_concepts_gets_them_again(
    http: httpx.Client, server: LocalServer, own: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "CHECK_SECONDS", 0.001)
    before = get(http, f"{own.id}/near", text="dog")
    await_points(server, own)
    ConceptVectors(server.platform.vectors).delete_vocabulary(tenant="default", vocabulary=own.id)
    assert get(http, f"{own.id}/near", text="dog") == before
    await_points(server, own)


def test_near__says_that_the_embeddings_are_being_computed(
    http: httpx.Client, own: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, going_on = threading.Event(), threading.Event()
    embed = concept_vectors.embed_concepts

    def slowly(*of: Any) -> Any:
        begun.set()
        going_on.wait(30)
        return embed(*of)

    monkeypatch.setattr(concept_vectors, "embed_concepts", slowly)
    monkeypatch.setattr(queries, "WAIT_SECONDS", 0.01)
    problem = get(http, f"{own.id}/near", 503, text="dog")
    assert "are being computed" in problem["detail"]
    assert begun.wait(30)
    for _ in range(3):
        get(http, f"{own.id}/merge-candidates", 503)
    going_on.set()
    assert get(http, f"{own.id}/near", text="dog")["items"]


def test_near__what_failed_is_said_and_tried_again(
    http: httpx.Client, own: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*of: Any) -> Any:
        raise concept_vectors.IntegrityError("the encoder is broken")

    with monkeypatch.context() as patched:
        patched.setattr(concept_vectors, "embed_concepts", fails)
        assert "the encoder is broken" in get(http, f"{own.id}/near", 500, text="dog")["detail"]
    assert get(http, f"{own.id}/near", text="dog")["items"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "query.text"),
        ({"text": "dog", "concept": "dog"}, "query.text"),
        ({"sample": "plain"}, "query.dataset"),
        ({"dataset": "x"}, "query.sample"),
        ({"concept": "no such thing"}, "query.concept"),
        ({"text": "dog", "encoder": "none such"}, "query.encoder"),
        ({"text": ""}, "query.text"),
        ({"text": "dog", "limit": 0}, "query.limit"),
        ({"text": "dog", "surprise": 1}, "query.surprise"),
    ],
)
def test_near__a_wrong_question_is_refused(
    http: httpx.Client, vocabulary: str, params: dict[str, Any], field: str
) -> None:
    problem = get(http, f"{vocabulary}/near", 422, **params)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_near__what_is_not_there(http: httpx.Client, curated: Curated, own: Vocabulary) -> None:
    get(http, "none-such/near", 404, text="dog")
    get(http, f"{own.id}/near", 404, dataset="none-such", sample="plain")
    get(http, f"{own.id}/near", 404, dataset=curated.dataset.id, sample="none such")
    get(http, f"{own.id}/near", 404, text="dog", curation="none-such")
    problem = get(http, f"{own.id}/near", 422, text="dog", curation=curated.curation.id)
    assert [error["field"] for error in problem["errors"]] == ["query.curation"]


@pytest.mark.parametrize("text", [" ", "🐕", "\x00", "{}", "dog " * 400, "狗"])
def test_near__any_text_is_answered(http: httpx.Client, vocabulary: str, text: str) -> None:
    answer = http.get(f"/v1/vocabularies/{vocabulary}/near", params={"text": text})
    assert answer.status_code in (200, 422), answer.text


def test_merge_candidates__are_all_near_pairs_most_similar_first(
    http: httpx.Client, server: LocalServer, own: Vocabulary
) -> None:
    _, loaded = server.platform.vocabularies.load(tenant="default", vocabulary=own.id)
    concepts_VD = embed_concepts(server.platform.encoders.get(), loaded.prompts())
    cosines_VV = concepts_VD @ concepts_VD.T
    wanted = sorted(
        (
            (-float(cosines_VV[first, second]), loaded.names[first], loaded.names[second])
            for first in range(len(loaded))
            for second in range(first + 1, len(loaded))
            if cosines_VV[first, second] >= 0.5
        ),
    )
    found: list[dict[str, Any]] = []
    page = get(http, f"{own.id}/merge-candidates", min_similarity=0.5, limit=3)
    while True:
        found += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 3
        page = get(http, f"{own.id}/merge-candidates", min_similarity=0.5, limit=3, cursor=page["next"])
    assert len(wanted) > 3
    assert [(item["first"]["name"], item["second"]["name"]) for item in found] == [
        (first, second) for _, first, second in wanted
    ]
    assert [-item["similarity"] for item in found] == pytest.approx([cosine for cosine, _, _ in wanted])


def test_merge_candidates__a_cursor_is_of_one_list(http: httpx.Client, own: Vocabulary) -> None:
    page = get(http, f"{own.id}/merge-candidates", min_similarity=0.0, limit=1)
    get(http, f"{own.id}/merge-candidates", 422, min_similarity=0.1, limit=1, cursor=page["next"])


def test_merge_candidates__of_a_vocabulary_of_one(
    http: httpx.Client, client: CocuClient, tmp_path: Path
) -> None:
    file = tmp_path / "one.txt"
    file.write_text("dog\n")
    one = client.vocabularies.from_file(file)
    assert get(http, f"{one.id}/merge-candidates", min_similarity=-1)["items"] == []
    assert get(http, f"{one.id}/near", concept="dog")["items"] == []


def test_merge_candidates__with_a_curation_say_how_often_each_is_named(
    http: httpx.Client, curated: Curated, vocabulary: str
) -> None:
    asked = {"min_similarity": -1, "curation": curated.curation.id}
    for pair in get(http, f"{vocabulary}/merge-candidates", **asked)["items"]:
        for concept in (pair["first"], pair["second"]):
            detail = http.get(f"/v1/curations/{curated.curation.id}/concepts/{concept['name']}").json()
            assert (concept["captions"], concept["archives"]) == (detail["captions"], detail["archives"])


@pytest.fixture
def narrow(client: CocuClient, tmp_path: Path) -> Vocabulary:
    """A vocabulary that lacks some of what the captions of the curated dataset name."""
    file = tmp_path / "narrow.txt"
    file.write_text("dog\ncat\n")
    return client.vocabularies.from_file(file)


def test_gaps__are_phrases_that_no_concept_is_near_to(
    http: httpx.Client, server: LocalServer, curated: Curated, narrow: Vocabulary
) -> None:
    asked = {"dataset": curated.dataset.id, "max_similarity": 1.0, "min_captions": 2}
    found = get(http, f"{narrow.id}/gaps", **asked)["items"]
    assert {item["phrase"]: item["captions"] for item in found} == {"bench": 3, "tree": 2, "car": 2}
    tower = server.platform.encoders.get()
    for item in found:
        text_D = tower.embed_texts([f"a photo of a {item['phrase']}"])[0]
        nearest, cosine = expected(server, narrow.id, text_D)[0]
        assert (item["nearest"], item["similarity"]) == (nearest, pytest.approx(cosine, abs=1e-6))
    middle = sorted(item["similarity"] for item in found)[1]
    far = get(http, f"{narrow.id}/gaps", **{**asked, "max_similarity": middle + 1e-6})["items"]
    assert far == [item for item in found if item["similarity"] <= middle + 1e-6]
    assert get(http, f"{narrow.id}/gaps", **{**asked, "min_captions": 3})["items"] == found[:1]


def test_gaps__come_in_pages(http: httpx.Client, curated: Curated, narrow: Vocabulary) -> None:
    asked = {"dataset": curated.dataset.id, "max_similarity": 1.0, "min_captions": 2}
    whole = get(http, f"{narrow.id}/gaps", **asked)["items"]
    first = get(http, f"{narrow.id}/gaps", **asked, limit=2)
    second = get(http, f"{narrow.id}/gaps", **asked, limit=2, cursor=first["next"])
    assert first["items"] + second["items"] == whole
    assert second["next"] is None


def test_gaps__of_a_dataset_without_samples(
    http: httpx.Client, client: CocuClient, narrow: Vocabulary
) -> None:
    get(http, f"{narrow.id}/gaps", 404, dataset="none-such")
    get(http, f"{narrow.id}/gaps", 409, dataset=client.datasets.create("without samples").id)


def test_gaps__follow_the_dataset_as_it_grows(
    http: httpx.Client, server: LocalServer, client: CocuClient, narrow: Vocabulary, tmp_path: Path
) -> None:
    dataset = client.datasets.create("growing gaps")
    asked = {"dataset": dataset.id, "max_similarity": 1.0, "min_captions": 2}
    for number, phrase in enumerate(("tree", "bench")):
        file = tmp_path / f"{number}.tar"
        captions = {f"{number}-{key}": f"a {phrase}" for key in range(3)}
        file.write_bytes(tar_of_samples(captions, first_seed=10 * number))
        client.datasets.upload(dataset.id, file)
        client.datasets.wait(dataset.id, timeout=60)
        found = {item["phrase"] for item in get(http, f"{narrow.id}/gaps", **asked)["items"]}
        assert phrase in found
        assert len(server.platform.objects.list(f"datasets/{dataset.id}/gaps")) == 1
    assert found == {"tree", "bench"}


def test_another_tenants_vocabulary_is_not_there(
    server: LocalServer, own: Vocabulary, http: httpx.Client
) -> None:
    get(http, f"{own.id}/near", text="dog")
    platform = server.platform
    space = queries.ConceptSpace(
        platform, Concepts(platform, Samples(platform)), lambda **of: None, Background(threading.Event())
    )
    asked: dict[str, Any] = {
        "encoder": None,
        "curation": None,
        "query": queries.Query(text="dog"),
        "limit": 1,
    }
    assert space.near(tenant="default", vocabulary=own.id, **asked)
    with pytest.raises(NotFoundError):
        space.near(tenant="other", vocabulary=own.id, **asked)
