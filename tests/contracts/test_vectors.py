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
from cocu.storage.vectors import Hit, VectorOptions, Vectors
from cocu.storage.vectors.addressing import alias, encoder_of

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
    for name in opened._collections.names():
        if (encoder_of(name) or "").startswith(ours["encoder"]):
            opened._collections.delete(name)
    opened.close()


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
    vectors.upsert_samples(**ours, keys=keys(20), first_row=0, embeddings_ND=unit(20))
    vectors.set_concepts(**ours, curation="c", keys=keys(20), concepts=[["dog"]] * 20)
    query = unit(1)[0]
    own = vectors.search(**ours, vector_D=query, limit=100, curation="c", concepts=["dog"])
    assert len(own) == 20
    assert vectors.search(**theirs, vector_D=query, limit=100) == []
    assert vectors.search(**theirs, vector_D=query, limit=100, curation="c", concepts=["dog"]) == []
    assert vectors.count(**theirs) == 0
    # The same keys under other names are other points, and what happens to them happens to them alone.
    vectors.upsert_samples(**theirs, keys=keys(3), first_row=500, embeddings_ND=unit(3, seed=3))
    vectors.set_concepts(**theirs, curation="c", keys=keys(20), concepts=[["cat"]] * 20)
    vectors.forget_curation(**theirs, curation="c")
    if "encoder" not in other:
        vectors.delete_dataset(tenant=theirs["tenant"], dataset=theirs["dataset"])
    assert vectors.search(**ours, vector_D=query, limit=100, curation="c", concepts=["dog"]) == own


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
            lambda named=named: vectors.forget_curation(**named, curation="c"),
            lambda named=named: vectors.set_concepts(**named, curation="c", keys=["k"], concepts=[[]]),
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
        vectors.set_concepts(**ours, curation=name, keys=[], concepts=[])


def test_concepts_of_curations_are_kept_apart_and_forgotten(vectors: Vectors, ours: dict[str, str]) -> None:
    vectors.upsert_samples(**ours, keys=keys(4), first_row=0, embeddings_ND=unit(4))
    archived = [["dog", "fire hydrant"], ["dog"], [], ["cat"]]
    vectors.set_concepts(**ours, curation="c1", keys=[*keys(4), "unknown"], concepts=[*archived, ["dog"]])
    vectors.set_concepts(**ours, curation="c2", keys=keys(1), concepts=[["cat"]])

    def found(curation: str, *concepts: str) -> list[int]:
        hits = vectors.search(**ours, vector_D=unit(1)[0], curation=curation, concepts=concepts)
        return sorted(hit.row for hit in hits)

    assert found("c1", "dog") == [0, 1]
    assert found("c1", "dog", "fire hydrant") == [0]
    assert found("c1", "cat") == [3]
    assert found("c2", "cat") == [0]
    vectors.set_concepts(**ours, curation="c1", keys=keys(1), concepts=[["cat"]])
    assert found("c1", "dog") == [1]
    vectors.forget_curation(**ours, curation="c1")
    assert (found("c1", "cat"), found("c2", "cat")) == ([], [0])
    assert vectors.count(**ours) == 4
    with pytest.raises(ValueError, match="a curation is named"):
        vectors.search(**ours, vector_D=unit(1)[0], concepts=["dog"])


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
    vectors.set_concepts(**unknown, curation="c", keys=keys(1), concepts=[["dog"]])
    vectors.forget_curation(**unknown, curation="c")


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
        with vectors.filling(encoder=ours["encoder"], dimensions=8) as filling:
            named = {"tenant": ours["tenant"], "dataset": ours["dataset"]}
            filling.upsert_samples(**named, keys=keys(20), first_row=5, embeddings_ND=unit(20, 1))
            filling.upsert_samples(**theirs, keys=keys(3), first_row=0, embeddings_ND=unit(3))
            filling.set_concepts(**named, curation="c", keys=keys(1), concepts=[["dog"]])
            assert vectors.search(**ours, vector_D=unit(1, 1)[0], curation="c", concepts=["dog"]) == []
            before = vectors.search(**ours, vector_D=unit(1)[0], limit=1)
            filling.switch()
        assert before[0].score == pytest.approx(1, abs=2e-3)
        assert vectors.count(**ours) == 20
        assert [hit.row for hit in vectors.search(**ours, vector_D=unit(20, 1)[7], limit=1)] == [12]
        found = vectors.search(**ours, vector_D=unit(1)[0], curation="c", concepts=["dog"])
        assert [hit.key for hit in found] == ["k/0"]
        # What it took the place of is gone, and what comes now goes into it.
        assert len(vectors._collections.names(ours["encoder"])) == 1
        put(vectors, ours, 30)
        vectors.ensure_collection(encoder=ours["encoder"], dimensions=8)
        assert vectors.count(**ours) == 30
        assert vectors.count(encoder=ours["encoder"], **theirs) == 3


def test_a_filling_that_fails_leaves_everything_as_it_was(vectors: Vectors, ours: dict[str, str]) -> None:
    put(vectors, ours, 5)
    before = vectors._collections.names(ours["encoder"])
    with pytest.raises(RuntimeError), vectors.filling(encoder=ours["encoder"], dimensions=8):
        raise RuntimeError
    assert vectors._collections.names(ours["encoder"]) == before
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
            with vectors.filling(encoder=ours["encoder"], dimensions=8) as filling:
                filling.upsert_samples(
                    tenant="acme", dataset="d1", keys=keys(50), first_row=0, embeddings_ND=unit(50)
                )
                filling.switch()
        ended.set()
        for each in searching:
            each.result()
    assert set(found) == {50}


def test_a_deleted_collection_is_empty_and_can_be_made_again(vectors: Vectors, ours: dict[str, str]) -> None:
    put(vectors, ours, 5)
    (name,) = vectors._collections.names(ours["encoder"])
    vectors._collections.delete(name)
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
    assert alias(new["encoder"]) != vectors._collections.names(new["encoder"])[0]


def test_a_key_that_is_not_the_servers_is_said(stand_in: QdrantServer, ours: dict[str, str]) -> None:
    stranger = Vectors.open(stand_in.url, options=VectorOptions(prefer_grpc=False, api_key="wrong"))
    with pytest.raises(UnavailableError, match="refuses the API key; set COCU_VECTORS_API_KEY"):
        stranger.count(**ours)
    stranger.close()
