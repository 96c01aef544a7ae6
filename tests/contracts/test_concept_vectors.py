"""Concepts in the vector store, as a folder and as a server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.servers.qdrant_server import QdrantServer, qdrant_server

from cocu.errors import ConflictError
from cocu.vectors import ConceptPoint, ConceptVectors, Frequency, VectorOptions, Vectors
from cocu.vectors.identifiers import collection

API_KEY = "of the tests"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    """Our HTTP requests in front of the local mode; see its module for what that shows and what not."""
    with qdrant_server(tmp_path_factory.mktemp("qdrant") / "points", api_key=API_KEY) as server:
        yield server


@pytest.fixture
def ours() -> dict[str, str]:
    """A tenant's vocabulary by an encoder that no other test has."""
    return {"encoder": f"tests-{uuid.uuid4().hex}", "tenant": "acme", "vocabulary": "v1"}


@pytest.fixture(params=["folder", "stand-in", "server", "server over gRPC"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path, ours: dict[str, str]) -> Iterator[Vectors]:
    if request.param == "folder":
        opened = Vectors.open(str(tmp_path / "vectors"))
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
    yield opened
    for encoder in (ours["encoder"], f"{ours['encoder']}-2"):
        for kind in ("samples", "concepts"):
            name = collection(kind, encoder)  # type: ignore[arg-type]
            for generation in opened._backend.generations(name):
                opened._backend.drop(name, generation)
    opened.close()


@pytest.fixture
def concepts(vectors: Vectors, ours: dict[str, str]) -> ConceptVectors:
    """A store with an empty collection of our encoder."""
    opened = ConceptVectors(vectors)
    opened.ensure_collection(encoder=ours["encoder"], dimensions=8)
    return opened


def unit(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def points(count: int, **frequencies: Frequency) -> Sequence[ConceptPoint]:
    return [
        ConceptPoint(number, f"concept {number}", (f"concept {number}", f"concepts {number}"), frequencies)
        for number in range(count)
    ]


def test_near_is_the_exact_order_of_cosines(concepts: ConceptVectors, ours: dict[str, str]) -> None:
    vectors_CD, query_D = unit(700), unit(1, seed=5)[0]
    concepts.upsert(**ours, concepts=points(700), vectors_CD=vectors_CD)
    assert concepts.count(**ours) == 700
    found = concepts.near(**ours, vector_D=query_D, limit=10)
    order = np.argsort(-(vectors_CD @ query_D))[:10].tolist()
    assert [concept.number for concept in found] == order
    assert [concept.name for concept in found] == [f"concept {number}" for number in order]
    assert found[0].forms == (f"concept {order[0]}", f"concepts {order[0]}")
    np.testing.assert_allclose([concept.score for concept in found], (vectors_CD @ query_D)[order], atol=2e-3)


def test_frequencies_are_those_of_the_curation_asked_about(
    concepts: ConceptVectors, ours: dict[str, str]
) -> None:
    counted = points(3, **{"c1-abc": Frequency(1, 20, 19), "c2-abc": Frequency(0, 0, 0)})
    concepts.upsert(**ours, concepts=counted, vectors_CD=unit(3))
    for curation, expected in (
        ("c1-abc", Frequency(1, 20, 19)),
        ("c2-abc", Frequency(0, 0, 0)),
        ("c1-abd", None),
        (None, None),
    ):
        found = concepts.near(**ours, vector_D=unit(1)[0], limit=1, curation=curation)
        assert [concept.frequency for concept in found] == [expected]


def test_doing_it_again_changes_nothing_but_the_frequencies(
    concepts: ConceptVectors, ours: dict[str, str]
) -> None:
    for added in (1, 2):
        concepts.ensure_collection(encoder=ours["encoder"], dimensions=8)
        concepts.upsert(**ours, concepts=points(5, c=Frequency(3, 4, added)), vectors_CD=unit(5))
        assert concepts.count(**ours) == 5
        (found,) = concepts.near(**ours, vector_D=unit(5)[3], limit=1, curation="c")
        assert (found.number, found.frequency) == (3, (3, 4, added))
        assert found.score == pytest.approx(1.0, abs=1e-3)
        assert found.score <= 1.0


@pytest.mark.parametrize("other", [{"tenant": "evil"}, {"vocabulary": "v2"}, {"encoder": "2"}])
def test_what_belongs_to_others_is_never_seen_or_touched(
    concepts: ConceptVectors, ours: dict[str, str], other: dict[str, str]
) -> None:
    second = f"{ours['encoder']}-2"
    theirs = ours | other | ({"encoder": second} if "encoder" in other else {})
    concepts.ensure_collection(encoder=second, dimensions=8)
    concepts.upsert(**ours, concepts=points(20), vectors_CD=unit(20))
    own = concepts.near(**ours, vector_D=unit(1)[0], limit=100)
    assert concepts.near(**theirs, vector_D=unit(1)[0], limit=100) == []
    assert concepts.count(**theirs) == 0
    concepts.upsert(**theirs, concepts=points(3), vectors_CD=unit(3, seed=3))
    if "encoder" not in other:
        concepts.delete_vocabulary(tenant=theirs["tenant"], vocabulary=theirs["vocabulary"])
        assert concepts.count(**theirs) == 0
    assert concepts.near(**ours, vector_D=unit(1)[0], limit=100) == own


def test_samples_and_concepts_of_one_encoder_do_not_meet(
    vectors: Vectors, concepts: ConceptVectors, ours: dict[str, str]
) -> None:
    # The same tenant, and an id that is a dataset's and a vocabulary's.
    dataset = {"encoder": ours["encoder"], "tenant": ours["tenant"], "dataset": ours["vocabulary"]}
    vectors.ensure_collection(encoder=ours["encoder"], dimensions=8)
    vectors.upsert_samples(**dataset, keys=["0", "1"], first_row=0, embeddings_ND=unit(2))
    concepts.upsert(**ours, concepts=points(3), vectors_CD=unit(3))
    assert (vectors.count(**dataset), concepts.count(**ours)) == (2, 3)
    vectors.delete_dataset(tenant=ours["tenant"], dataset=ours["vocabulary"])
    assert (vectors.count(**dataset), concepts.count(**ours)) == (0, 3)
    concepts.delete_vocabulary(tenant=ours["tenant"], vocabulary=ours["vocabulary"])
    assert concepts.count(**ours) == 0


def test_without_a_collection_nothing_is_there(vectors: Vectors, ours: dict[str, str]) -> None:
    store = ConceptVectors(vectors)
    assert store.count(**ours) == 0
    assert store.near(**ours, vector_D=unit(1)[0], limit=3) == []
    store.delete_vocabulary(tenant=ours["tenant"], vocabulary=ours["vocabulary"])


def test_other_dimensions_are_a_conflict(concepts: ConceptVectors, ours: dict[str, str]) -> None:
    with pytest.raises(ConflictError, match="dimensions"):
        concepts.ensure_collection(encoder=ours["encoder"], dimensions=16)


def test_what_does_not_fit_is_refused(concepts: ConceptVectors, ours: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        concepts.upsert(**ours, concepts=points(2), vectors_CD=unit(3))
    with pytest.raises(ValueError, match="finite"):
        concepts.upsert(**ours, concepts=points(1), vectors_CD=unit(1) * np.nan)
    for gap in ({"tenant": ""}, {"vocabulary": ""}):
        with pytest.raises(ValueError, match="must be named"):
            concepts.count(**(ours | gap))
    with pytest.raises(ValueError, match="curation"):
        concepts.near(**ours, vector_D=unit(1)[0], limit=1, curation="a.b")
