"""Servers that live as long as the session; a conftest imports those that its tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; each test makes databases of its own in it."""
    with postgres_server() as server:
        yield server
