"""Servers that start with the first test that asks for them and live as long as the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers.postgres_server import PostgresServer, postgres_server
from tests.servers.redis_server import RedisServer, redis_server
from tests.servers.s3_server import new_place, s3_server, s3_variables


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; each test makes databases of its own in it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis server; a test that disturbs it leaves it running."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The s3:// URL of an empty place; AWS_* say how to reach it, in this process and its children."""
    for name, value in s3_variables(s3_address).items():
        monkeypatch.setenv(name, value)
    return new_place(s3_address)
