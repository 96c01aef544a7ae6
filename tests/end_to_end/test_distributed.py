"""The shipped scenes on PostgreSQL, a bucket and Redis: the archives of the embedded platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.faults.distributed import Distributed
from tests.running import running
from tests.servers.fixtures import bucket, postgres, s3_address
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import redis_server

from cocu.client import CocuClient

__all__ = ["bucket", "postgres", "s3_address"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHARDS = {"samples_per_shard": 100}


def curated(client: CocuClient, repository: Path) -> dict[str, Any]:
    """What the first of the shipped scenes come to."""
    dataset = client.datasets.create("scenes")
    client.datasets.upload(dataset.id, repository / "examples" / "scenes" / "scenes-00000.tar")
    client.datasets.wait(dataset.id, timeout=120)
    curation = client.curations.wait(client.curations.create(dataset.id).id, timeout=240)
    archives = list(client.archives.list(curation.id, limit=200))
    return {
        "state": curation.state,
        "samples": curation.samples,
        "content_hash": curation.content_hash,
        "archives": {archive.key: [one.concept for one in archive.concepts] for archive in archives},
    }


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    """With SQLite and files."""
    encoder = repository / "examples" / "encoders" / "scenes"
    folder = tmp_path_factory.mktemp("embedded")
    with running(folder, encoder, **SHARDS) as server, CocuClient(server.url) as client:
        found = curated(client, repository)
    assert found["state"] == "completed"
    return found


def test_postgresql_and_a_bucket__under_the_embedded_platform(
    tmp_path: Path, repository: Path, embedded: dict[str, Any], postgres: PostgresServer, bucket: str
) -> None:
    encoder = repository / "examples" / "encoders" / "scenes"
    parts = {"catalog_url": postgres.new_catalog(), "objects_url": bucket}
    with running(tmp_path, encoder, **parts, **SHARDS) as server, CocuClient(server.url) as client:
        found = curated(client, repository)

    assert found == embedded


def test_redis_postgresql_and_a_bucket__with_two_workers(
    tmp_path: Path, repository: Path, embedded: dict[str, Any], postgres: PostgresServer, bucket: str
) -> None:
    """The workers have folders of their own: what they share is in the servers alone."""
    parts: dict[str, Any] = {
        "catalog_url": postgres.new_catalog(),
        "objects_url": bucket,
        "encoders_url": repository / "examples" / "encoders" / "scenes",
        **SHARDS,
    }
    with (
        redis_server() as redis,
        Distributed(tmp_path, broker_url=redis.url, **parts) as platform,
    ):
        platform.start_api()
        platform.start_sweeper(data_folder=tmp_path / "sweeper")
        for number in range(2):
            platform.start_worker(data_folder=tmp_path / f"worker {number}")
        with platform.client() as client:
            found = curated(client, repository)
        assert {chunk.attempts for chunk in platform.chunks()} == {1}

    assert found == embedded
