"""A platform with a curated dataset of several shards: odd keys and captions, image formats, metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.local_platform import picture, running, tar_of
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Archive, Curation, Parameters

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")
SAMPLES = 34
SHARDS = [15, 15, 1, 3]
ODD_CAPTIONS = {
    3: 'a "dog"\nand\ta cat,\r\non two lines',
    4: "ein Hund — 犬 🐕 dog",
    5: "nothing that is known",
}


@dataclass(frozen=True)
class Curated:
    """A completed curation, what was put in by key, and its archives by key."""

    server: LocalServer
    client: CocuClient
    curation: Curation
    images: Mapping[str, bytes]
    captions: Mapping[str, str]
    archives: Mapping[str, Archive]

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1/curations/{self.curation.id}/export"


def key_of(number: int) -> str:
    return f"{number:03d}" if number % 5 else f"köln/{number} of many"


def caption_of(number: int) -> str:
    return ODD_CAPTIONS.get(number, f"a {WORDS[number % 6]} and a {WORDS[number // 6 % 6]}, number {number}")


def image_of(number: int) -> bytes:
    return picture(number, side=24 + number, format=("JPEG", "PNG", "WEBP")[number % 3])


def metadata_of(number: int) -> dict[str, Any]:
    return {"url": f"https://example.org/{number}", "uid": f"{number:032x}"} if number % 4 == 0 else {}


def members_of(numbers: range) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for number in numbers:
        extension = ("jpg", "png", "webp")[number % 3]
        members[f"{key_of(number)}.{extension}"] = image_of(number)
        members[f"{key_of(number)}.txt"] = caption_of(number).encode()
        if metadata_of(number):
            members[f"{key_of(number)}.json"] = json.dumps(metadata_of(number)).encode()
    return members


def curate(client: CocuClient, vocabulary: str, dataset: str) -> Curation:
    client.datasets.wait(dataset, timeout=60)
    parameters = Parameters(neighbours=4)
    curation = client.curations.create(dataset, vocabulary=vocabulary, parameters=parameters)
    return client.curations.wait(curation.id, timeout=120)


@pytest.fixture(scope="session")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curated]:
    folder = tmp_path_factory.mktemp("exports")
    encoder = write_tiny_encoder(folder / "encoder")
    vocabulary = folder / "things.txt"
    vocabulary.write_text("\n".join(WORDS))
    with running(folder / "data", encoder, samples_per_shard=15) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("curated")
        for name, numbers in (("a", range(SAMPLES - 3)), ("b", range(SAMPLES - 3, SAMPLES))):
            file = folder / f"{name}.tar"
            file.write_bytes(tar_of(members_of(numbers)))
            client.datasets.upload(dataset.id, file)
        curation = curate(client, client.vocabularies.from_file(vocabulary).id, dataset.id)
        yield Curated(
            server,
            client,
            curation,
            {key_of(number): image_of(number) for number in range(SAMPLES)},
            {key_of(number): caption_of(number) for number in range(SAMPLES)},
            {archive.key: archive for archive in client.archives.list(curation.id)},
        )


@pytest.fixture
def again(curated: Curated) -> Iterator[Any]:
    """Puts exported files in as a new dataset, curates it likewise and returns the curation."""
    datasets: list[str] = []

    def put_in(folder: Path) -> Curation:
        dataset = curated.client.datasets.create(f"again from {folder.name}").id
        datasets.append(dataset)
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".tar", ".parquet")):
            curated.client.datasets.upload(dataset, path)
        return curate(curated.client, curated.curation.vocabulary, dataset)

    yield put_in
    for dataset in datasets:
        curated.client.datasets.delete(dataset)


def expected_concepts(archive: Archive) -> list[dict[str, Any]]:
    """The concepts of an archive as exports have them."""
    return [
        {
            "concept": concept.concept,
            "score": concept.score,
            "global": concept.global_score,
            "local": concept.local_score,
            "cluster": concept.cluster,
            "origins": [origin.key for origin in concept.origins],
        }
        for concept in archive.concepts
    ]


def expected_neighbours(archive: Archive) -> list[dict[str, Any]]:
    return [{"key": neighbour.key, "similarity": neighbour.similarity} for neighbour in archive.neighbours]
