"""Uploads with objects in a bucket: received on the local disk, sent to the bucket, then deleted here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.api.tus_requests import break_off, create, created, encoded, is_problem, offset_of, patch, resume
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Dataset

CONTENT = tar_of_samples({f"sample {number}": "a dog" for number in range(4)})


@pytest.fixture
def in_bucket(tmp_path: Path, bucket: str) -> Iterator[LocalServer]:
    with running(tmp_path / "data", write_tiny_encoder(tmp_path / "encoder"), objects_url=bucket) as server:
        yield server


@pytest.fixture
def http(in_bucket: LocalServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=in_bucket.url, timeout=60) as opened:
        yield opened


@pytest.fixture
def client(in_bucket: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(in_bucket.url) as opened:
        yield opened


@pytest.fixture
def dataset(client: CocuClient) -> Dataset:
    return client.datasets.create("in a bucket")


def received_here(server: LocalServer) -> list[Path]:
    """Files of uploads on the local disk, without the cache of objects."""
    scratch = server.platform.objects.scratch
    return [*scratch.glob("*.part"), *scratch.glob("growing/*")]


def test_put__arrives_and_is_read(
    http: httpx.Client, client: CocuClient, in_bucket: LocalServer, dataset: Dataset
) -> None:
    path = f"/v1/datasets/{dataset.id}/uploads"
    assert http.put(f"{path}/a.tar", content=CONTENT).status_code == 201
    other = {"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}
    assert http.put(f"{path}/b.tar", content=CONTENT, headers=other).status_code in {400, 422}
    client.datasets.wait(dataset.id, timeout=60)
    uploads_by_name = {upload.name: upload for upload in client.datasets.uploads(dataset.id)}
    assert (uploads_by_name["a.tar"].state, uploads_by_name["a.tar"].accepted) == ("ingested", 4)
    assert uploads_by_name["b.tar"].state == "failed"
    assert received_here(in_bucket) == []


def test_tus__arrives_whole_though_it_broke_off(
    http: httpx.Client, client: CocuClient, in_bucket: LocalServer, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    break_off(http, location, 0, CONTENT[:3000])
    assert offset_of(http, location) <= 3000
    assert resume(http, location, CONTENT).status_code == 204
    client.datasets.wait(dataset.id, timeout=60)
    (upload,) = client.datasets.uploads(dataset.id)
    assert (upload.state, upload.sha256) == ("ingested", hashlib.sha256(CONTENT).hexdigest())
    assert received_here(in_bucket) == []


def test_tus__that_ended_or_was_not_what_was_announced_leaves_nothing(
    http: httpx.Client, in_bucket: LocalServer, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    patch(http, location, 0, CONTENT[:1000])
    assert len(received_here(in_bucket)) == 1
    assert http.delete(location, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert received_here(in_bucket) == []
    metadata = f"filename {encoded('two.tar')},sha256 {encoded('0' * 64)}"
    location = create(http, dataset, len(CONTENT), **{"Upload-Metadata": metadata}).headers["Location"]
    assert is_problem(patch(http, location, 0, CONTENT), 460)
    assert received_here(in_bucket) == []
    objects = in_bucket.platform.objects
    assert not [path for path in objects.list() if "uploads" in path]
