"""An empty catalog: in a file, and on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.postgres_server import PostgresServer

from cocu.catalog import Catalog


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_catalog()
    else:
        url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    opened = Catalog.open(url)
    yield opened
    opened.close()
