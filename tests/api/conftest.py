"""One platform for all tests of the API, with one small dataset that is curated once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Curation, Dataset

CAPTIONS = {
    "plain": "a dog on a bench",
    "folder/inside": "a cat in a tree",
    "with space": "a car by a tree",
    "été-日本": "a boat and a dog",
    "100%25": "a bench",
    "folder/image": "two dogs and a cat",
    "nothing": "something else entirely",
    "last": "a car, a cat and a bench",
}
VOCABULARY = "dog\ncat\nbench\ntree\ncar\nboat\n"


@dataclass(frozen=True)
class Curated:
    """A dataset with a completed curation."""

    dataset: Dataset
    curation: Curation


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    with running(folder / "data", encoder, max_upload_bytes=2_000_000) as started:
        yield started


@pytest.fixture(scope="session")
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


@pytest.fixture
def http(server: LocalServer) -> Iterator[httpx.Client]:
    """A plain HTTP client, for requests that the typed client would never send."""
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="session")
def curated(client: CocuClient, tmp_path_factory: pytest.TempPathFactory) -> Curated:
    file = tmp_path_factory.mktemp("upload") / "samples.tar"
    file.write_bytes(tar_of_samples(CAPTIONS))
    vocabulary = tmp_path_factory.mktemp("vocabulary") / "things.txt"
    vocabulary.write_text(VOCABULARY)
    dataset = client.datasets.create("curated")
    client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=60)
    made = client.vocabularies.from_file(vocabulary)
    curation = client.curations.create(dataset.id, vocabulary=made.id)
    return Curated(client.datasets.get(dataset.id), client.curations.wait(curation.id, timeout=120))
