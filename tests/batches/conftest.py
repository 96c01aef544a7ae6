"""A platform with a curated dataset of several shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.local_platform import picture, running, tar_of
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Curation

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")
SAMPLES = 50
SILENT = 7
"""The caption of this sample names no concept, nor do those of similar images."""


@dataclass(frozen=True)
class Curated:
    """A completed curation, and the uploaded images and captions by key."""

    server: LocalServer
    curation: Curation
    images: Mapping[str, bytes]
    captions: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1/curations/{self.curation.id}/batches"


def key_of(number: int) -> str:
    return f"{number:03d}" if number % 5 else f"köln/{number} of many"


def caption_of(number: int) -> str:
    first, second = WORDS[number % 6], WORDS[number // 6 % 6]
    return "nothing of note" if number == SILENT else f"a {first} and a {second}, number {number}"


def image_of(number: int) -> bytes:
    return picture(number, side=32 + number, format=("JPEG", "PNG", "WEBP")[number % 3])


def upload(client: CocuClient, dataset: str, file: Path, numbers: range) -> None:
    members: dict[str, bytes] = {}
    for number in numbers:
        extension = ("jpg", "png", "webp")[number % 3]
        members[f"{key_of(number)}.{extension}"] = image_of(number)
        members[f"{key_of(number)}.txt"] = caption_of(number).encode()
    file.write_bytes(tar_of(members))
    client.datasets.upload(dataset, file)


@pytest.fixture(scope="session")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curated]:
    folder = tmp_path_factory.mktemp("batches")
    encoder = write_tiny_encoder(folder / "encoder")
    vocabulary = folder / "things.txt"
    vocabulary.write_text("\n".join(WORDS))
    with running(folder / "data", encoder, samples_per_shard=20) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("curated")
        upload(client, dataset.id, folder / "first.tar", range(SAMPLES - 5))
        upload(client, dataset.id, folder / "second.tar", range(SAMPLES - 5, SAMPLES))
        client.datasets.wait(dataset.id, timeout=60)
        stored_vocabulary = client.vocabularies.from_file(vocabulary)
        curation = client.curations.create(dataset.id, vocabulary=stored_vocabulary.id)
        curation = client.curations.wait(curation.id, timeout=120)
        numbers = range(SAMPLES)
        yield Curated(
            server,
            curation,
            {key_of(number): image_of(number) for number in numbers},
            {key_of(number): caption_of(number) for number in numbers},
        )
