"""Damaged data is never served: the answer is a problem that names the object."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated
from tests.local_platform import running, tar_of_samples
from tests.pipeline.damage import flip, the_first

from cocu.api.server import LocalServer
from cocu.client import CocuClient


@pytest.fixture
def restarted(server: LocalServer, curated: Curated, tmp_path: Path) -> Iterator[Callable[[], LocalServer]]:
    """Return a function that starts a platform on a copy of the data, after the test has damaged it."""
    data = server.platform.settings.data_folder
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("vectors"))
    with running(tmp_path / "data", Path(server.platform.settings.encoders_url)) as started:
        yield lambda: started


READS = {
    "archives": ("archives", "/v1/curations/{curation}/archives"),
    "one archive": ("archives", "/v1/curations/{curation}/archives/last"),
    "export of archives": ("archives", "/v1/curations/{curation}/export?format=jsonl"),
    "batches of archives": ("archives", "/v1/curations/{curation}/batches?format=arrow&images=false"),
    "concepts": ("concepts.arrow", "/v1/curations/{curation}/concepts"),
    "samples": ("/samples/", "/v1/datasets/{dataset}/samples"),
    "export of samples": ("/samples/", "/v1/curations/{curation}/export?format=parquet"),
    "batches": ("shards", "/v1/curations/{curation}/batches?format=tar"),
    "export of images": ("shards", "/v1/curations/{curation}/export?format=released"),
    "export of whole tars": ("shards", "/v1/curations/{curation}/export?format=webdataset"),
}


@pytest.mark.parametrize("read", READS)
def test_damaged_data_is_named_and_not_served(
    restarted: Callable[[], LocalServer], curated: Curated, read: str
) -> None:
    kind, path = READS[read]
    server = restarted()
    for other in [path for path in server.platform.objects.list() if kind in path]:
        # In a tar a byte in the middle of its first image, in all others any byte.
        flip(server.platform, other, at=0.03 if kind == "shards" else 0.5)
    url_path = path.format(curation=curated.curation.id, dataset=curated.dataset.id)
    answer = httpx.get(server.url + url_path, timeout=30)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:cocu:problem:damaged-data"
    assert kind in problem["detail"]
    assert "is damaged" in problem["detail"]
    assert "cocu catalog verify" in problem["detail"]


def test_a_damaged_picture_is_not_served_and_the_others_are(
    restarted: Callable[[], LocalServer], curated: Curated
) -> None:
    server = restarted()
    flip(server.platform, the_first(server.platform, "shards"), at=0.03)
    with CocuClient(server.url) as client:
        keys = [sample.key for sample in client.datasets.samples(curated.dataset.id)]
    paths = [f"/v1/datasets/{curated.dataset.id}/samples/{key}/image" for key in keys if "%" not in key]
    statuses = [httpx.get(server.url + path).status_code for path in paths]
    assert sorted(set(statuses)) == [200, 500]
    assert statuses.count(500) == 1


def test_a_damaged_vocabulary_is_named(restarted: Callable[[], LocalServer], curated: Curated) -> None:
    server = restarted()
    for path in [name for name in server.platform.objects.list("vocabularies") if name.endswith(".json")]:
        flip(server.platform, path)
    answer = httpx.get(f"{server.url}/v1/vocabularies/{curated.curation.vocabulary}/concepts")
    assert answer.status_code == 500
    assert "vocabularies/" in answer.json()["detail"]
    assert "is damaged" in answer.json()["detail"]


def test_a_stream_that_has_begun_breaks_off_and_says_why_in_a_line(
    restarted: Callable[[], LocalServer], curated: Curated, caplog: pytest.LogCaptureFixture
) -> None:
    server = restarted()
    flip(server.platform, the_first(server.platform, "shards"), at=0.03)
    url_path = f"/v1/curations/{curated.curation.id}/batches?format=tar&global_batch=1"
    broken = 0
    with caplog.at_level(logging.INFO):
        for seed in range(4):
            try:
                answer = httpx.get(f"{server.url}{url_path}&seed={seed}", timeout=30)
                # The damaged image came first: nothing had been sent.
                assert answer.status_code == 500
            except httpx.RemoteProtocolError:
                broken += 1
    assert broken > 0
    lines = [line for line in caplog.messages if "broke off" in line]
    assert len(lines) == broken
    assert all("is damaged" in line for line in lines)
    assert "Traceback" not in caplog.text


def test_an_export_of_a_dataset_that_is_deleted_meanwhile_breaks_off(
    server: LocalServer, client: CocuClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:

    dataset = client.datasets.create("deleted while it is exported")
    for number in range(2):
        file = tmp_path / f"{number}.tar"
        file.write_bytes(tar_of_samples({f"{number}{key}": text for key, text in CAPTIONS.items()}))
        client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=60)
    curation = client.curations.create(dataset.id)
    client.curations.wait(curation.id, timeout=60)
    url = f"{server.url}/v1/curations/{curation.id}/batches?format=tar&global_batch=1"
    objects = server.platform.objects
    with caplog.at_level(logging.INFO), httpx.stream("GET", url, timeout=30) as answer:
        assert answer.status_code == 200
        # Deletion removes the objects first and the rows later.
        objects.delete_prefix(f"datasets/{dataset.id}")
        try:
            answer.read()
        except httpx.RemoteProtocolError:
            assert any("broke off" in line for line in caplog.messages)
    assert "Traceback" not in caplog.text
    client.datasets.delete(dataset.id)
