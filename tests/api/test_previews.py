"""Previews: the archives that a curation then gives, of the same samples every time, with nothing stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.local_platform import picture, running, tar_of
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient, ConflictError
from cocu.schemas import Archive, Parameters

THINGS = ("dog", "cat", "bench", "tree", "car", "boat", "man", "hat")
SAMPLES = 60
BASIS: dict[str, Any] = {"neighbours": 8}
VARIANTS: tuple[dict[str, Any], ...] = (
    {"neighbours": 8},
    {"neighbours": 3},
    {"neighbours": 8, "scoring": "set"},
    {"neighbours": 4, "scoring": "official"},
    {"neighbours": 8, "own_caption": False},
    {"neighbours": 5, "duplicate_similarity": 0.5},
    {"neighbours": 8, "clustering": False, "max_concepts": 3},
    {"neighbours": 6, "min_score": -1.0, "seed": 7},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / "data", write_tiny_encoder(folder / "encoder"), samples_per_shard=25) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(client: CocuClient, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A dataset with copies among its pictures, and a vocabulary; nothing is curated yet."""
    folder = tmp_path_factory.mktemp("samples")
    members: dict[str, bytes] = {}
    for number in range(SAMPLES):
        named = [THINGS[(number * step) % len(THINGS)] for step in (1, 3)]
        members[f"{number:03d}.jpg"] = picture(number if number % 9 else 0, side=16)
        members[f"{number:03d}.txt"] = f"a {named[0]} and a {named[1]}".encode()
    (folder / "a.tar").write_bytes(tar_of(members))
    (folder / "things.txt").write_text("\n".join(THINGS))
    dataset = client.datasets.create("previewed").id
    client.datasets.upload(dataset, folder / "a.tar")
    client.datasets.wait(dataset, timeout=60)
    return dataset, client.vocabularies.from_file(folder / "things.txt").id


@pytest.fixture(scope="module")
def basis(client: CocuClient, made: tuple[str, str]) -> str:
    dataset, vocabulary = made
    with pytest.raises(ConflictError, match="there is none yet"):
        client.curations.preview(dataset, vocabulary=vocabulary)
    curation = client.curations.create(dataset, vocabulary=vocabulary, parameters=Parameters(**BASIS))
    return client.curations.wait(curation.id, timeout=120).id


def shown(archive: Archive) -> dict[str, Any]:
    return archive.model_dump(exclude={"curation", "changed", "image", "thumbnail"})


@pytest.mark.parametrize("values", VARIANTS, ids=str)
def test_preview__equals_the_archives_that_the_curation_then_gives(
    client: CocuClient, made: tuple[str, str], basis: str, values: dict[str, Any]
) -> None:
    dataset, vocabulary = made
    parameters = Parameters(**values)
    before = len(list(client.curations.list(dataset=dataset)))
    preview = client.curations.preview(dataset, vocabulary=vocabulary, parameters=parameters)
    assert len(list(client.curations.list(dataset=dataset))) == before
    assert (len(preview.archives), preview.samples, preview.differs) == (10, SAMPLES, [])
    curation = client.curations.create(dataset, vocabulary=vocabulary, parameters=parameters)
    client.curations.wait(curation.id, timeout=120)
    assert preview.id == curation.id
    archives = {archive.key: shown(archive) for archive in client.archives.list(curation.id)}
    assert [shown(archive) for archive in preview.archives] == [
        archives[archive.key] for archive in preview.archives
    ]
    assert any(archive.concepts for archive in preview.archives)


def test_preview__is_of_the_same_samples_whatever_the_parameters(
    client: CocuClient, made: tuple[str, str], basis: str
) -> None:
    dataset, vocabulary = made
    keys = [
        [archive.key for archive in preview.archives]
        for preview in (
            client.curations.preview(dataset, vocabulary=vocabulary, parameters=Parameters(neighbours=count))
            for count in (1, 8, 8)
        )
    ]
    assert keys[0] == keys[1] == keys[2]
    assert keys[0] == sorted(set(keys[0]))


def test_preview__of_more_neighbours_than_any_curation_has_says_what_it_cannot_know(
    client: CocuClient, made: tuple[str, str], basis: str
) -> None:
    dataset, vocabulary = made
    parameters = Parameters(neighbours=20)
    preview = client.curations.preview(dataset, vocabulary=vocabulary, parameters=parameters)
    assert len(preview.differs) == 1
    assert "copies and weights" in preview.differs[0]
    assert max(len(archive.neighbours) for archive in preview.archives) == 20


@pytest.mark.parametrize(
    "query", ["preview=0", "preview=21", "preview=x", "preview=-1", "preview=10&preview=5"]
)
def test_preview__of_another_number_is_refused(
    server: LocalServer, made: tuple[str, str], basis: str, query: str
) -> None:
    answer = httpx.post(f"{server.url}/v1/datasets/{made[0]}/curations?{query}", json={})
    assert answer.status_code == 422


def test_preview__with_another_vocabulary_or_of_nothing_is_told_why_not(
    server: LocalServer, client: CocuClient, basis: str, made: tuple[str, str]
) -> None:
    with pytest.raises(ConflictError, match="same encoder and vocabulary"):
        client.curations.preview(made[0])
    with pytest.raises(ConflictError, match="no accepted samples"):
        client.curations.preview(client.datasets.create("with nothing").id)


def test_preview__of_more_than_a_million_samples_is_refused(
    client: CocuClient, made: tuple[str, str], basis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocu.pipeline.preview.MAX_SAMPLES", SAMPLES - 1)
    with pytest.raises(ConflictError, match="previews are made of up to 59"):
        client.curations.preview(made[0], vocabulary=made[1])
