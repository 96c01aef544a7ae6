"""Vectors: search, and that nobody ever sees another's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from qdrant_client.local.local_collection import LocalCollection

from cocu.errors import ConflictError, UnavailableError
from cocu.storage.vectors import Hit, Vectors

OURS = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}


@pytest.fixture
def vectors() -> Iterator[Vectors]:
    opened = Vectors.open(":memory:")
    opened.ensure_collection(encoder="e1", dimensions=8)
    yield opened
    opened.close()


def unit(count: int, seed: int = 0, dimensions: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def keys(count: int) -> list[str]:
    return [f"k/{number}" for number in range(count)]


def test_search_is_the_exact_order_of_cosines(vectors: Vectors) -> None:
    embeddings = unit(600)
    vectors.upsert_samples(**OURS, keys=keys(600), first_row=100, embeddings_ND=embeddings.astype(np.float16))
    assert vectors.count(**OURS) == 600
    query = unit(1, seed=5)[0]
    expected = np.argsort(-(embeddings @ query))[:10]
    hits = vectors.search(**OURS, vector_D=query, limit=10)
    assert [hit.row - 100 for hit in hits] == expected.tolist()
    assert [hit.key for hit in hits] == [f"k/{row}" for row in expected]
    np.testing.assert_allclose([hit.score for hit in hits], (embeddings @ query)[expected], atol=2e-3)


def test_doing_it_again_changes_nothing(vectors: Vectors) -> None:
    for _ in range(2):
        vectors.ensure_collection(encoder="e1", dimensions=8)
        vectors.upsert_samples(**OURS, keys=keys(5), first_row=0, embeddings_ND=unit(5))
    assert vectors.count(**OURS) == 5
    vectors.upsert_samples(**OURS, keys=["k/0"], first_row=77, embeddings_ND=unit(1, seed=9))
    assert vectors.search(**OURS, vector_D=unit(1, seed=9)[0], limit=1)[0] == Hit(
        "k/0", 77, pytest.approx(1.0)
    )


def test_ties_come_by_row(vectors: Vectors) -> None:
    vectors.upsert_samples(**OURS, keys=keys(5), first_row=0, embeddings_ND=np.repeat(unit(1), 5, axis=0))
    assert [hit.row for hit in vectors.search(**OURS, vector_D=unit(1)[0])] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "other",
    [{"tenant": "evil"}, {"dataset": "d2"}, {"tenant": "evil", "dataset": "d2"}, {"encoder": "e2"}],
)
def test_what_belongs_to_others_is_never_seen_or_touched(vectors: Vectors, other: dict[str, str]) -> None:
    theirs = OURS | other
    vectors.ensure_collection(encoder="e2", dimensions=8)
    vectors.upsert_samples(**OURS, keys=keys(20), first_row=0, embeddings_ND=unit(20))
    vectors.set_concepts(**OURS, curation="c", keys=keys(20), concepts=[["dog"]] * 20)
    query = unit(1)[0]
    ours = vectors.search(**OURS, vector_D=query, limit=100, curation="c", concepts=["dog"])
    assert len(ours) == 20
    assert vectors.search(**theirs, vector_D=query, limit=100) == []
    assert vectors.search(**theirs, vector_D=query, limit=100, curation="c", concepts=["dog"]) == []
    assert vectors.count(**theirs) == 0
    # The same keys under other names are other points, and what happens to them happens to them alone.
    vectors.upsert_samples(**theirs, keys=keys(3), first_row=500, embeddings_ND=unit(3, seed=3))
    vectors.set_concepts(**theirs, curation="c", keys=keys(20), concepts=[["cat"]] * 20)
    vectors.forget_curation(**theirs, curation="c")
    if "encoder" not in other:
        vectors.delete_dataset(tenant=theirs["tenant"], dataset=theirs["dataset"])
    assert vectors.search(**OURS, vector_D=query, limit=100, curation="c", concepts=["dog"]) == ours


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.text(max_size=3)),
        min_size=2,
        max_size=6,
        unique=True,
    ).filter(
        lambda names: not any("\ud800" <= c <= "\udfff" for name in names for part in name for c in part)
    )
)
def test_no_choice_of_names_reaches_another(names: list[tuple[str, str, str]]) -> None:
    vectors = Vectors.open(":memory:")
    vectors.ensure_collection(encoder="e", dimensions=2)
    for number, (tenant, dataset, key) in enumerate(names):
        vectors.upsert_samples(
            encoder="e", tenant=tenant, dataset=dataset, keys=[key], first_row=number,
            embeddings_ND=np.array([[1.0, 0.0]]),
        )  # fmt: skip
    for tenant, dataset, _ in names:
        hits = vectors.search(encoder="e", tenant=tenant, dataset=dataset, vector_D=np.array([1.0, 0.0]))
        assert [hit.row for hit in hits] == [
            number for number, name in enumerate(names) if name[:2] == (tenant, dataset)
        ]
    vectors.close()


def test_names_that_read_alike_in_a_row_are_different_points(vectors: Vectors) -> None:
    for tenant, dataset, key in (("a/b", "c", "d"), ("a", "b/c", "d"), ("a", "b", "c/d")):
        named = {"encoder": "e1", "tenant": tenant, "dataset": dataset}
        vectors.upsert_samples(**named, keys=[key], first_row=0, embeddings_ND=unit(1))
    for tenant, dataset in (("a/b", "c"), ("a", "b/c"), ("a", "b")):
        assert vectors.count(encoder="e1", tenant=tenant, dataset=dataset) == 1


def test_every_call_names_tenant_and_dataset(vectors: Vectors) -> None:
    for gap in ({"tenant": ""}, {"dataset": ""}):
        named = OURS | gap
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
def test_names_that_would_be_paths_are_refused(vectors: Vectors, name: str) -> None:
    with pytest.raises(ValueError, match="named by letters"):
        vectors.ensure_collection(encoder=name, dimensions=8)
    with pytest.raises(ValueError, match="named by letters"):
        vectors.set_concepts(**OURS, curation=name, keys=[], concepts=[])


def test_concepts_of_curations_are_kept_apart_and_forgotten(vectors: Vectors) -> None:
    vectors.upsert_samples(**OURS, keys=keys(4), first_row=0, embeddings_ND=unit(4))
    archived = [["dog", "fire hydrant"], ["dog"], [], ["cat"]]
    vectors.set_concepts(**OURS, curation="c1", keys=[*keys(4), "unknown"], concepts=[*archived, ["dog"]])
    vectors.set_concepts(**OURS, curation="c2", keys=keys(1), concepts=[["cat"]])

    def found(curation: str, *concepts: str) -> list[int]:
        hits = vectors.search(**OURS, vector_D=unit(1)[0], curation=curation, concepts=concepts)
        return sorted(hit.row for hit in hits)

    assert found("c1", "dog") == [0, 1]
    assert found("c1", "dog", "fire hydrant") == [0]
    assert found("c1", "cat") == [3]
    assert found("c2", "cat") == [0]
    vectors.set_concepts(**OURS, curation="c1", keys=keys(1), concepts=[["cat"]])
    assert found("c1", "dog") == [1]
    vectors.forget_curation(**OURS, curation="c1")
    assert (found("c1", "cat"), found("c2", "cat")) == ([], [0])
    assert vectors.count(**OURS) == 4
    with pytest.raises(ValueError, match="a curation is named"):
        vectors.search(**OURS, vector_D=unit(1)[0], concepts=["dog"])


def test_a_deleted_dataset_is_gone_from_every_collection(vectors: Vectors) -> None:
    vectors.ensure_collection(encoder="e2", dimensions=3)
    vectors.upsert_samples(**OURS, keys=keys(4), first_row=0, embeddings_ND=unit(4))
    vectors.upsert_samples(
        **(OURS | {"encoder": "e2"}), keys=keys(4), first_row=0, embeddings_ND=unit(4, dimensions=3)
    )
    vectors.upsert_samples(**(OURS | {"dataset": "d2"}), keys=keys(2), first_row=0, embeddings_ND=unit(2))
    vectors.delete_dataset(tenant="acme", dataset="d1")
    assert vectors.count(**OURS) == vectors.count(**(OURS | {"encoder": "e2"})) == 0
    assert vectors.count(**(OURS | {"dataset": "d2"})) == 2


def test_what_is_not_indexed_is_empty_not_an_error(vectors: Vectors) -> None:
    unknown = OURS | {"encoder": "nobody"}
    assert vectors.search(**unknown, vector_D=unit(1)[0]) == []
    assert vectors.count(**unknown) == 0
    vectors.set_concepts(**unknown, curation="c", keys=keys(1), concepts=[["dog"]])
    vectors.forget_curation(**unknown, curation="c")


def test_vectors_that_do_not_fit(vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        vectors.upsert_samples(**OURS, keys=keys(2), first_row=0, embeddings_ND=unit(3))
    with pytest.raises(ValueError, match="finite"):
        vectors.upsert_samples(**OURS, keys=keys(1), first_row=0, embeddings_ND=np.full((1, 8), np.nan))
    with pytest.raises(ConflictError, match="8 dimensions, not 9"):
        vectors.ensure_collection(encoder="e1", dimensions=9)
    vectors.upsert_samples(**OURS, keys=keys(1), first_row=0, embeddings_ND=np.zeros((1, 8)))
    assert vectors.search(**OURS, vector_D=unit(1)[0])[0].score == 0


def test_a_folder_keeps_what_was_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "vectors"
    first = Vectors.open(str(folder))
    first.ensure_collection(encoder="e1", dimensions=8)
    first.upsert_samples(**OURS, keys=keys(3), first_row=0, embeddings_ND=unit(3))
    first.set_concepts(**OURS, curation="c", keys=keys(1), concepts=[["dog"]])
    first.close()
    again = Vectors.open(folder.as_uri())
    assert again.count(**OURS) == 3
    assert [hit.row for hit in again.search(**OURS, vector_D=unit(1)[0], curation="c", concepts=["dog"])] == [
        0
    ]
    again.close()


def test_one_folder_serves_one_process(tmp_path: Path) -> None:
    held = Vectors.open(str(tmp_path))
    with pytest.raises(UnavailableError, match="in use by another process; stop it"):
        Vectors.open(str(tmp_path))
    program = f"from cocu.storage.vectors import Vectors; Vectors.open({str(tmp_path)!r})"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UnavailableError" in other.stderr
    held.close()
    Vectors.open(str(tmp_path)).close()


def test_a_damaged_folder_is_unavailable_not_a_crash(tmp_path: Path) -> None:
    opened = Vectors.open(str(tmp_path))
    opened.ensure_collection(encoder="e1", dimensions=8)
    opened.close()
    (stored,) = tmp_path.rglob("storage.sqlite")
    stored.write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError):
        Vectors.open(str(tmp_path))


def test_many_threads_at_once(tmp_path: Path) -> None:
    vectors = Vectors.open(str(tmp_path))
    vectors.ensure_collection(encoder="e1", dimensions=8)

    def work(number: int) -> int:
        ours = OURS | {"dataset": f"d{number}"}
        for turn in range(5):
            vectors.upsert_samples(**ours, keys=[f"{turn}"], first_row=turn, embeddings_ND=unit(1, turn))
            vectors.search(**ours, vector_D=unit(1)[0])
        return vectors.count(**ours)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == [5] * 16
    vectors.close()


def test_commits_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    # Reaches into the client as `vectors` does, to notice a version in which that has no effect.
    for _ in range(2):
        vectors = Vectors.open(str(tmp_path))
        vectors.ensure_collection(encoder="e1", dimensions=8)
        (collection,) = vectors._client._client.collections.values()  # type: ignore[attr-defined]
        assert collection.storage.storage.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert collection.storage.storage.execute("PRAGMA synchronous").fetchone() == (1,)
        vectors.close()


def test_no_warning_about_large_collections(vectors: Vectors) -> None:
    assert LocalCollection.LARGE_DATA_THRESHOLD > 10**9


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_server_that_does_not_answer(prefer_grpc: bool) -> None:
    nobody = Vectors.open("http://127.0.0.1:9", prefer_grpc=prefer_grpc)
    with pytest.raises(UnavailableError, match="vector store does not answer"):
        nobody.count(**OURS)
    nobody.close()


def test_only_this_module_uses_a_qdrant_client(repository: Path) -> None:
    users = [
        path.relative_to(repository).as_posix()
        for path in (repository / "services").rglob("*.py")
        if "qdrant_client" in path.read_text()
    ]
    assert users == ["services/cocu/storage/vectors.py"]
    assert QdrantClient is not None
