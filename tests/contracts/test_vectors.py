"""The vector store as a folder and as a server: what is found, and that nobody ever sees another's."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.servers.qdrant_server import QdrantServer, qdrant_server

from cocu.errors import ConflictError, UnavailableError
from cocu.vectors import ArchivedConcept, Archives, Hit, VectorOptions, Vectors
from cocu.vectors.identifiers import HIGHEST_BAND, LOWEST_BAND, collection

API_KEY = "of the tests"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    """Our HTTP requests in front of the local mode; see its module for what that shows and what not."""
    with qdrant_server(tmp_path_factory.mktemp("qdrant") / "points", api_key=API_KEY) as server:
        yield server


@pytest.fixture
def ours() -> dict[str, str]:
    """A tenant's dataset by an encoder that no other test has."""
    return {"encoder": f"tests-{uuid.uuid4().hex}", "tenant": "acme", "dataset": "d1"}


@pytest.fixture(params=["memory", "folder", "stand-in", "server", "server over gRPC"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path, ours: dict[str, str]) -> Iterator[Vectors]:
    """A store with an empty collection of our encoder."""
    if request.param in ("memory", "folder"):
        opened = Vectors.open(":memory:" if request.param == "memory" else str(tmp_path / "vectors"))
    elif request.param == "stand-in":
        options = VectorOptions(prefer_grpc=False, api_key=API_KEY, seconds=20)
        opened = Vectors.open(request.getfixturevalue("stand_in").url, options=options)
    else:
        url = os.environ.get("COCU_TEST_QDRANT_URL")
        if not url:
            pytest.skip("COCU_TEST_QDRANT_URL names no Qdrant server")
        key = os.environ.get("COCU_TEST_QDRANT_API_KEY")
        options = VectorOptions(prefer_grpc="gRPC" in request.param, api_key=key, seconds=20)
        opened = Vectors.open(url, options=options)
    opened.ensure_collection(encoder=ours["encoder"], dimensions=8)
    yield opened
    for suffix in ("", "-2", "-new"):
        for generation in generations(opened, ours["encoder"] + suffix):
            opened._backend.drop(collection("samples", ours["encoder"] + suffix), generation)
    opened.close()


def generations(vectors: Vectors, encoder: str) -> list[str]:
    return vectors._backend.generations(collection("samples", encoder))


DOG, CAT, HYDRANT = ArchivedConcept("c", 0), ArchivedConcept("c", 1), ArchivedConcept("c", 2)


def archives(*concepts: list[int], curation: str = "c", score: float = 0.5, added: bool = True) -> Archives:
    """One archive for each list of concepts, all with this score."""
    flat = [concept for of_sample in concepts for concept in of_sample]
    offsets = np.cumsum([0, *(len(of_sample) for of_sample in concepts)])
    scores, added_C = np.full(len(flat), score, np.float32), np.full(len(flat), added)
    return Archives(curation, offsets, np.array(flat, np.int64), scores, added_C)


def unit(count: int, seed: int = 0, dimensions: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def keys(count: int) -> list[str]:
    return [f"k/{number}" for number in range(count)]


def test_search_is_the_exact_order_of_cosines(vectors: Vectors, ours: dict[str, str]) -> None:
    embeddings = unit(600)
    vectors.upsert_samples(**ours, keys=keys(600), first_row=100, embeddings_ND=embeddings.astype(np.float16))
    assert vectors.count(**ours) == 600
    query = unit(1, seed=5)[0]
    expected = np.argsort(-(embeddings @ query))[:10]
    hits = vectors.search(**ours, vector_D=query, limit=10)
    assert [hit.row - 100 for hit in hits] == expected.tolist()
    assert [hit.key for hit in hits] == [f"k/{row}" for row in expected]
    np.testing.assert_allclose([hit.score for hit in hits], (embeddings @ query)[expected], atol=2e-3)


def test_doing_it_again_changes_nothing(vectors: Vectors, ours: dict[str, str]) -> None:
    for _ in range(2):
        vectors.ensure_collection(encoder=ours["encoder"], dimensions=8)
        vectors.upsert_samples(**ours, keys=keys(5), first_row=0, embeddings_ND=unit(5))
    assert vectors.count(**ours) == 5
    vectors.upsert_samples(**ours, keys=["k/0"], first_row=77, embeddings_ND=unit(1, seed=9))
    assert vectors.search(**ours, vector_D=unit(1, seed=9)[0], limit=1)[0] == Hit(
        "k/0", 77, pytest.approx(1.0)
    )


def test_ties_come_by_row(vectors: Vectors, ours: dict[str, str]) -> None:
    vectors.upsert_samples(**ours, keys=keys(5), first_row=0, embeddings_ND=np.repeat(unit(1), 5, axis=0))
    assert [hit.row for hit in vectors.search(**ours, vector_D=unit(1)[0])] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "other",
    [{"tenant": "evil"}, {"dataset": "d2"}, {"tenant": "evil", "dataset": "d2"}, {"encoder": "e2"}],
)
def test_what_belongs_to_others_is_never_seen_or_touched(
    vectors: Vectors, ours: dict[str, str], other: dict[str, str]
) -> None:
    second = f"{ours['encoder']}-2"
    theirs = ours | other | ({"encoder": second} if "encoder" in other else {})
    vectors.ensure_collection(encoder=second, dimensions=8)
    dogs = [archives(*[[0]] * 20)]
    vectors.upsert_samples(**ours, keys=keys(20), first_row=0, embeddings_ND=unit(20), archives=dogs)
    query = unit(1)[0]
    own = vectors.search(**ours, vector_D=query, limit=100, concepts=[DOG])
    assert len(own) == 20
    assert vectors.search(**theirs, vector_D=query, limit=100) == []
    assert vectors.search(**theirs, vector_D=query, limit=100, concepts=[DOG]) == []
    assert vectors.facets(**theirs, curation="c") == {}
    assert vectors.count(**theirs) == 0
    # The same keys under other names are other points, and what happens to them happens to them alone.
    cats = [archives([1], [1], [1])]
    vectors.upsert_samples(
        **theirs, keys=keys(3), first_row=500, embeddings_ND=unit(3, seed=3), archives=cats
    )
    assert vectors.facets(**ours, curation="c") == {0: 20}
    if "encoder" not in other:
        vectors.delete_dataset(tenant=theirs["tenant"], dataset=theirs["dataset"])
    assert vectors.search(**ours, vector_D=query, limit=100, concepts=[DOG]) == own


def test_names_that_read_alike_in_a_row_are_different_points(vectors: Vectors, ours: dict[str, str]) -> None:
    for tenant, dataset, key in (("a/b", "c", "d"), ("a", "b/c", "d"), ("a", "b", "c/d")):
        named = {"encoder": ours["encoder"], "tenant": tenant, "dataset": dataset}
        vectors.upsert_samples(**named, keys=[key], first_row=0, embeddings_ND=unit(1))
    for tenant, dataset in (("a/b", "c"), ("a", "b/c"), ("a", "b")):
        assert vectors.count(encoder=ours["encoder"], tenant=tenant, dataset=dataset) == 1


def test_every_call_names_tenant_and_dataset(vectors: Vectors, ours: dict[str, str]) -> None:
    for gap in ({"tenant": ""}, {"dataset": ""}):
        named = ours | gap
        for call in (
            lambda named=named: vectors.search(**named, vector_D=unit(1)[0]),
            lambda named=named: vectors.count(**named),
            lambda named=named: vectors.delete_dataset(tenant=named["tenant"], dataset=named["dataset"]),
            lambda named=named: vectors.facets(**named, curation="c"),
            lambda named=named: vectors.upsert_samples(
                **named, keys=["k"], first_row=0, embeddings_ND=unit(1)
            ),
        ):
            with pytest.raises(ValueError, match="tenant and dataset"):
                call()


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a.b", "a b", "ä"])
def test_names_that_would_be_paths_are_refused(vectors: Vectors, ours: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match="named by letters"):
        vectors.ensure_collection(encoder=name, dimensions=8)
    with pytest.raises(ValueError, match="named by letters"):
        vectors.count(**ours, concepts=[ArchivedConcept(name, 0)])
    with pytest.raises(ValueError, match="named by letters"):
        vectors.upsert_samples(
            **ours,
            keys=keys(1),
            first_row=0,
            embeddings_ND=unit(1),
            archives=[archives([0], curation=name)],
        )


def test_archives_of_curations_are_kept_apart_and_replaced(vectors: Vectors, ours: dict[str, str]) -> None:
    both = [archives([0, 2], [0], [], [1]), archives([1], [], [], [], curation="c2")]
    vectors.upsert_samples(**ours, keys=keys(4), first_row=0, embeddings_ND=unit(4), archives=both)

    def rows(*concepts: ArchivedConcept) -> list[int]:
        hits = vectors.search(**ours, vector_D=unit(1)[0], concepts=concepts)
        assert vectors.count(**ours, concepts=concepts) == len(hits)
        return sorted(hit.row for hit in hits)

    assert rows(DOG) == [0, 1]
    assert rows(DOG, HYDRANT) == [0]
    assert rows(CAT) == [3]
    assert rows(ArchivedConcept("c2", 1)) == [0]
    assert vectors.facets(**ours, curation="c") == {0: 2, 1: 1, 2: 1}
    assert vectors.facets(**ours, curation="c", concepts=[HYDRANT]) == {0: 1, 2: 1}
    assert vectors.facets(**ours, curation="c2") == {1: 1}
    # A sample that is put again has the archives that come with it, and no others.
    vectors.upsert_samples(**ours, keys=keys(1), first_row=0, embeddings_ND=unit(1), archives=[archives([1])])
    assert (rows(DOG), rows(CAT), rows(ArchivedConcept("c2", 1))) == ([1], [0, 3], [])
    assert vectors.facets(**ours, curation="c") == {0: 1, 1: 2}
    assert vectors.facets(**ours, curation="c2") == {}
    assert vectors.count(**ours) == 4
    with pytest.raises(ValueError, match="keys and archives of 3 samples"):
        vectors.upsert_samples(
            **ours, keys=keys(1), first_row=0, embeddings_ND=unit(1), archives=[archives([], [], [])]
        )


@pytest.mark.parametrize("added", [True, False])
def test_concepts_are_found_by_score_and_by_whether_they_were_added(
    vectors: Vectors, ours: dict[str, str], added: bool
) -> None:
    scores = [-9.0, -4.1, -4.0, -3.5, -1.0, -0.001, 0.0, 0.3, 7.0]
    one_each = np.arange(len(scores) + 1)
    archived = Archives(
        "c", one_each, np.zeros(len(scores), np.int64), np.array(scores), np.full(len(scores), added)
    )
    vectors.upsert_samples(
        **ours, keys=keys(len(scores)), first_row=0, embeddings_ND=unit(len(scores)), archives=[archived]
    )
    for bound in range(LOWEST_BAND, HIGHEST_BAND + 1):
        above = sum(score >= bound for score in scores)
        assert vectors.count(**ours, concepts=[ArchivedConcept("c", 0, bound)]) == above
        added_above = above if added else 0
        assert vectors.count(**ours, concepts=[ArchivedConcept("c", 0, bound, added=True)]) == added_above
        assert vectors.facets(**ours, curation="c", min_score=bound) == {0: above}
    for bound in (LOWEST_BAND - 1, HIGHEST_BAND + 1):
        with pytest.raises(ValueError, match="payloads tell scores from -4 to 0"):
            vectors.count(**ours, concepts=[ArchivedConcept("c", 0, bound)])


def test_a_deleted_dataset_is_gone_from_every_collection(vectors: Vectors, ours: dict[str, str]) -> None:
    second = {"encoder": f"{ours['encoder']}-2"}
    vectors.ensure_collection(**second, dimensions=3)
    vectors.upsert_samples(**ours, keys=keys(4), first_row=0, embeddings_ND=unit(4))
    vectors.upsert_samples(**(ours | second), keys=keys(4), first_row=0, embeddings_ND=unit(4, dimensions=3))
    vectors.upsert_samples(**(ours | {"dataset": "d2"}), keys=keys(2), first_row=0, embeddings_ND=unit(2))
    vectors.delete_dataset(tenant="acme", dataset="d1")
    assert vectors.count(**ours) == vectors.count(**(ours | second)) == 0
    assert vectors.count(**(ours | {"dataset": "d2"})) == 2


def test_what_is_not_indexed_is_empty_not_an_error(vectors: Vectors, ours: dict[str, str]) -> None:
    unknown = ours | {"encoder": f"{ours['encoder']}-nobody"}
    assert vectors.search(**unknown, vector_D=unit(1)[0]) == []
    assert vectors.count(**unknown) == 0
    assert vectors.facets(**unknown, curation="c") == {}
    vectors.delete_dataset(tenant="acme", dataset="nothing")


def test_vectors_that_do_not_fit(vectors: Vectors, ours: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        vectors.upsert_samples(**ours, keys=keys(2), first_row=0, embeddings_ND=unit(3))
    with pytest.raises(ValueError, match="finite"):
        vectors.upsert_samples(**ours, keys=keys(1), first_row=0, embeddings_ND=np.full((1, 8), np.nan))
    with pytest.raises(ConflictError, match="8 dimensions, not 9"):
        vectors.ensure_collection(encoder=ours["encoder"], dimensions=9)
    vectors.upsert_samples(**ours, keys=keys(1), first_row=0, embeddings_ND=np.zeros((1, 8)))
    assert vectors.search(**ours, vector_D=unit(1)[0])[0].score == 0


def test_many_threads_at_once(vectors: Vectors, ours: dict[str, str]) -> None:

    def work(number: int) -> int:
        own = ours | {"dataset": f"d{number}"}
        for turn in range(5):
            vectors.upsert_samples(**own, keys=[f"{turn}"], first_row=turn, embeddings_ND=unit(1, turn))
            vectors.search(**own, vector_D=unit(1)[0])
        return vectors.count(**own)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == [5] * 16


def put(vectors: Vectors, ours: dict[str, str], count: int, *, seed: int = 0) -> None:
    vectors.upsert_samples(**ours, keys=keys(count), first_row=0, embeddings_ND=unit(count, seed))


def test_a_filled_collection_takes_the_place_of_another(vectors: Vectors, ours: dict[str, str]) -> None:
    put(vectors, ours, 30)
    theirs = {"tenant": "other", "dataset": "d9"}
    for _ in range(2):
        with vectors.shadow(encoder=ours["encoder"], dimensions=8) as shadow:
            named = {"tenant": ours["tenant"], "dataset": ours["dataset"]}
            dog = [archives([0], *[[]] * 19)]
            shadow.upsert_samples(
                **named, keys=keys(20), first_row=5, embeddings_ND=unit(20, 1), archives=dog
            )
            shadow.upsert_samples(**theirs, keys=keys(3), first_row=0, embeddings_ND=unit(3))
            assert vectors.search(**ours, vector_D=unit(1, 1)[0], concepts=[DOG]) == []
            before = vectors.search(**ours, vector_D=unit(1)[0], limit=1)
            shadow.switch()
        assert before[0].score == pytest.approx(1, abs=2e-3)
        assert vectors.count(**ours) == 20
        assert [hit.row for hit in vectors.search(**ours, vector_D=unit(20, 1)[7], limit=1)] == [12]
        found = vectors.search(**ours, vector_D=unit(1)[0], concepts=[DOG])
        assert [hit.key for hit in found] == ["k/0"]
        # What it took the place of is gone, and what comes now goes into it.
        assert len(generations(vectors, ours["encoder"])) == 1
        put(vectors, ours, 30)
        vectors.ensure_collection(encoder=ours["encoder"], dimensions=8)
        assert vectors.count(**ours) == 30
        assert vectors.count(encoder=ours["encoder"], **theirs) == 3


def test_a_shadow_that_fails_leaves_everything_as_it_was(vectors: Vectors, ours: dict[str, str]) -> None:
    put(vectors, ours, 5)
    before = generations(vectors, ours["encoder"])
    with pytest.raises(RuntimeError), vectors.shadow(encoder=ours["encoder"], dimensions=8):
        raise RuntimeError
    assert generations(vectors, ours["encoder"]) == before
    assert vectors.count(**ours) == 5


def test_searches_go_on_while_a_collection_takes_the_place_of_another(
    vectors: Vectors, ours: dict[str, str]
) -> None:
    put(vectors, ours, 50)
    ended, found = threading.Event(), []

    def search() -> None:
        while not ended.is_set():
            found.append(len(vectors.search(**ours, vector_D=unit(1)[0], limit=50)))

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        for _ in range(3):
            with vectors.shadow(encoder=ours["encoder"], dimensions=8) as shadow:
                shadow.upsert_samples(
                    tenant="acme", dataset="d1", keys=keys(50), first_row=0, embeddings_ND=unit(50)
                )
                shadow.switch()
        ended.set()
        for each in searching:
            each.result()
    assert set(found) == {50}


def test_a_deleted_collection_is_empty_and_can_be_made_again(vectors: Vectors, ours: dict[str, str]) -> None:
    put(vectors, ours, 5)
    (generation,) = generations(vectors, ours["encoder"])
    vectors._backend.drop(collection("samples", ours["encoder"]), generation)
    assert vectors.count(**ours) == 0
    assert vectors.search(**ours, vector_D=unit(1)[0]) == []
    vectors.ensure_collection(encoder=ours["encoder"], dimensions=8)
    put(vectors, ours, 5)
    assert vectors.count(**ours) == 5


def test_two_that_create_a_collection_at_once_create_one(vectors: Vectors, ours: dict[str, str]) -> None:
    new = ours | {"encoder": f"{ours['encoder']}-new"}
    together = threading.Barrier(4)

    def create(number: int) -> None:
        together.wait()
        vectors.ensure_collection(encoder=new["encoder"], dimensions=8)
        vectors.upsert_samples(**new, keys=[f"{number}"], first_row=number, embeddings_ND=unit(1, number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(4)))
    assert vectors.count(**new) == 4
    assert len(generations(vectors, new["encoder"])) == 1


def test_a_key_that_is_not_the_servers_is_said(stand_in: QdrantServer, ours: dict[str, str]) -> None:
    stranger = Vectors.open(stand_in.url, options=VectorOptions(prefer_grpc=False, api_key="wrong"))
    with pytest.raises(UnavailableError, match="refuses the API key; set COCU_VECTORS_API_KEY"):
        stranger.count(**ours)
    stranger.close()
