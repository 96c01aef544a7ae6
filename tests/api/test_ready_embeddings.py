"""Embeddings that somebody made before: uploaded over HTTP and curated as if the encoder had just run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.ready_embeddings import Files, partitioned
from tests.running import running, tar_of
from tests.workers.tiny_encoder import DIM, write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.client.models import Curation, Dataset, Upload, UploadOptions

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")
CAPTIONS = {
    f"{number:05d}": f"a {WORDS[number % 6]} and a {WORDS[(number // 2) % 6]}" for number in range(23)
}
READY = UploadOptions(encoder="tiny")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A platform with two encoders and small shards."""
    folder = tmp_path_factory.mktemp("platform")
    write_tiny_encoder(folder / "encoders" / "tiny")
    write_tiny_encoder(folder / "encoders" / "another", name="another", seed=8)
    with running(folder / "data", folder / "encoders", samples_per_shard=8) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def vocabulary(client: CocuClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("vocabulary") / "things.txt"
    file.write_text("\n".join(WORDS))
    return client.vocabularies.from_file(file).id


def vectors(count: int = len(CAPTIONS), *, seed: int = 3) -> np.ndarray:
    """Unit vectors that no two rows share."""
    made_ND = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)


def sent(
    client: CocuClient, files: Files, folder: Path, name: str, options: UploadOptions = READY
) -> Dataset:
    dataset = client.datasets.create(name)
    file = folder / f"{name}.tar"
    file.write_bytes(tar_of(files))
    client.datasets.upload(dataset.id, file, options=options)
    return client.datasets.wait(dataset.id, timeout=60)


def curate(client: CocuClient, dataset: Dataset, vocabulary: str, encoder: str = "tiny") -> Curation:
    made = client.curations.create(dataset.id, vocabulary=vocabulary, encoder=encoder)
    return client.curations.wait(made.id, timeout=120)


def only_upload(client: CocuClient, dataset: Dataset) -> Upload:
    (upload,) = client.datasets.uploads(dataset.id)
    return upload


@pytest.fixture(scope="module")
def ready(
    client: CocuClient, vocabulary: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Dataset, Curation]:
    folder = tmp_path_factory.mktemp("ready")
    dataset = sent(client, partitioned(vectors(), CAPTIONS, rows=10), folder, "ready")
    return dataset, curate(client, dataset, vocabulary)


def test_samples_without_pictures_are_curated(client: CocuClient, ready: tuple[Dataset, Curation]) -> None:
    dataset, curation = ready
    upload = only_upload(client, dataset)
    assert (upload.format, upload.accepted) == ("clip-retrieval", len(CAPTIONS))
    assert upload.columns == {"key": "image_path", "caption": "caption"}
    assert (dataset.samples, dataset.shards) == (len(CAPTIONS), 3)
    assert curation.state == "completed"
    assert client.datasets.report(dataset.id).failed == 0
    archive = client.archives.get(curation.id, "00000")
    assert archive.neighbours
    assert (archive.image, archive.thumbnail) == (None, None)
    assert {sample.key: sample.caption for sample in client.datasets.samples(dataset.id)} == CAPTIONS
