"""The result that disturbed runs are compared with, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.distributed import Distributed, undisturbed
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.servers.redis_server import RedisServer


@pytest.fixture(scope="session")
def tiny_encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one encoder bundle."""
    folder = tmp_path_factory.mktemp("encoders")
    write_tiny_encoder(folder / "tiny")
    return folder


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_encoders: Path) -> dict[str, Any]:
    """The result of the curation of `distributed.upload` without faults."""
    outcome = undisturbed(tmp_path_factory.mktemp("undisturbed"), tiny_encoders)
    assert outcome["state"] == "completed"
    return outcome


@pytest.fixture(scope="session")
def servers(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, tiny_encoders: Path
) -> Iterator[Distributed]:
    """The API and a sweeper."""
    folder = tmp_path_factory.mktemp("distributed")
    with Distributed(folder, broker_url=redis.url, encoders_url=tiny_encoders) as platform:
        platform.start_api()
        platform.start_sweeper()
        yield platform


@pytest.fixture
def platform(servers: Distributed) -> Iterator[Distributed]:
    """The API and a sweeper; workers that a test starts end with it."""
    with servers.undone():
        yield servers
