"""The shipped scenes, and real photographs, on every server there is: the archives of the embedded platform.

Triton, Redis, PostgreSQL, a bucket over HTTP, and two workers; each worker has a folder of its own, so what
they share is in the servers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.distributed import Distributed
from tests.local_platform import running
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer
from tests.servers.s3_server import new_place, s3_variables
from tests.servers.triton_server import TritonServer, triton_server

from cocu.client import CocuClient
from cocu.encoders import Bundle
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish

pytestmark = pytest.mark.timeout(400)

# One thread for one inference everywhere: the bits of an embedding may depend on their number.
SAME = {"worker_cores": 1, "samples_per_shard": 100}
PATIENCE = 240.0


@dataclass(frozen=True)
class Pictures:
    """Shards in a file or folder, and what they are curated with: by default the shipped vocabulary."""

    shards: Path
    encoder: str
    vocabulary: Path | None = None

    def curated(self, client: CocuClient) -> dict[str, Any]:
        """What they come to."""
        dataset = client.datasets.create(self.encoder)
        client.datasets.upload(dataset.id, self.shards)
        client.datasets.wait(dataset.id, timeout=PATIENCE)
        vocabulary = None if self.vocabulary is None else client.vocabularies.from_file(self.vocabulary).id
        made = client.curations.create(dataset.id, encoder=self.encoder, vocabulary=vocabulary)
        ended = client.curations.wait(made.id, timeout=PATIENCE)
        archives = list(client.archives.list(ended.id, page_size=200))
        return {
            "state": ended.state,
            "samples": ended.samples,
            "content_hash": ended.content_hash,
            "archives": {archive.key: [one.concept for one in archive.concepts] for archive in archives},
        }


@pytest.fixture(scope="module")
def encoders(
    repository: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the encoder of the scenes and, where it is there, that of the photographs."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "scenes").symlink_to(repository / "examples" / "encoders" / "scenes")
    try:
        photographs: Path = request.getfixturevalue("photo_encoder_folder")
    except pytest.skip.Exception:
        return folder
    (folder / "photographs").symlink_to(photographs)
    return folder


@pytest.fixture(scope="module")
def scenes(repository: Path) -> Pictures:
    return Pictures(repository / "examples" / "scenes" / "scenes-00000.tar", "scenes")


@pytest.fixture(scope="module")
def photographs(shared_folder: Path, photo_encoder_folder: Path) -> Pictures:
    shards = shared_folder / "datasets" / "coco-photos"
    return Pictures(shards, "photo-conse", shared_folder / "encoders" / "photo" / "concepts.txt")


@pytest.fixture(scope="module")
def embedded(encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CocuClient]:
    """One process, with SQLite and files."""
    folder = tmp_path_factory.mktemp("embedded")
    with running(folder, encoders, **SAME) as server, CocuClient(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def expected_scenes(embedded: CocuClient, scenes: Pictures) -> dict[str, Any]:
    found = scenes.curated(embedded)
    assert (found["state"], found["samples"]) == ("completed", 280)
    return found


@pytest.fixture(scope="module")
def triton(encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("triton")
    for bundle in sorted(encoders.iterdir()):
        publish(Bundle.load(bundle), folder / "models", options=ModelOptions(backend="python", threads=1))
    with triton_server(folder / "models", folder) as server:
        yield server


@pytest.fixture(scope="module")
def distributed(
    tmp_path_factory: pytest.TempPathFactory,
    triton: TritonServer,
    redis: RedisServer,
    postgres: PostgresServer,
    s3_address: str,
) -> Iterator[Distributed]:
    """The API, a sweeper and two workers."""
    folder = tmp_path_factory.mktemp("distributed")
    parts: dict[str, Any] = {
        "encoders_url": triton.url,
        "broker_url": f"{redis.url[:-1]}2",
        "catalog_url": postgres.new_catalog(),
        "objects_url": new_place(s3_address),
        # Nothing is disturbed here: a task that is tried twice was lost, not slow.
        "lease_seconds": 60.0,
        **SAME,
    }
    with pytest.MonkeyPatch.context() as patch, Distributed(folder, **parts) as platform:
        for name, value in s3_variables(s3_address).items():
            patch.setenv(name, value)
        platform.start_api(data_folder=folder / "api")
        platform.start_sweeper(data_folder=folder / "sweeper")
        for number in range(2):
            platform.start_worker(data_folder=folder / f"worker {number}")
        yield platform


def test_scenes__on_all_servers_come_to_what_they_are_embedded(
    distributed: Distributed, scenes: Pictures, expected_scenes: dict[str, Any]
) -> None:
    with distributed.client() as client:
        found = scenes.curated(client)

    assert found == expected_scenes
    assert {task.attempts for task in distributed.tasks()} == {1}


@pytest.mark.slow
@pytest.mark.photographs
def test_photographs__on_all_servers_come_to_what_they_are_embedded(
    distributed: Distributed, embedded: CocuClient, photographs: Pictures
) -> None:
    with distributed.client() as client:
        found = photographs.curated(client)
    expected = photographs.curated(embedded)

    assert (expected["state"], expected["samples"]) == ("completed", 388)
    assert found == expected
    assert {task.attempts for task in distributed.tasks()} == {1}


def test_work__is_shared_by_the_workers(distributed: Distributed) -> None:
    """Of what the tests before have sent."""
    workers = [part for part in distributed.parts if "worker" in part.log.name]
    assert [part.said().count("succeeded") > 10 for part in workers] == [True, True]


@pytest.mark.slow
def test_postgresql_and_a_bucket__under_the_embedded_platform(
    tmp_path: Path,
    encoders: Path,
    scenes: Pictures,
    expected_scenes: dict[str, Any],
    postgres: PostgresServer,
    bucket: str,
) -> None:
    parts: dict[str, Any] = {"catalog_url": postgres.new_catalog(), "objects_url": bucket, **SAME}
    with running(tmp_path, encoders, **parts) as server, CocuClient(server.url) as client:
        found = scenes.curated(client)

    assert found == expected_scenes
