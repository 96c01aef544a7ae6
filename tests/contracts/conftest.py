"""Both forms of each part: the embedded one, and the server that replaces it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.postgres_server import PostgresServer

from cocu.catalog import Catalog
from cocu.storage.objects import ObjectStore


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty catalog."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_catalog()


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """An empty catalog."""
    opened = Catalog.open(catalog_url)
    yield opened
    opened.close()


@pytest.fixture(params=["file", "memory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty object store."""
    if request.param == "file":
        return ObjectStore.open((tmp_path / "objects").as_uri())
    url = "memory://" if request.param == "memory" else request.getfixturevalue("bucket")
    return ObjectStore.open(url, cache=tmp_path / "cache")
