"""A platform with a tiny encoder, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.catalog.conftest import catalog  # noqa: F401 - a fixture
from tests.pipeline.pipeline_driver import settings
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.platform import Platform


@pytest.fixture
def encoders(tmp_path: Path) -> Path:
    """A folder with one encoder bundle."""
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    return tmp_path / "encoders"


@pytest.fixture
def platform(tmp_path: Path, encoders: Path) -> Iterator[Platform]:
    """A platform without workers; `pipeline_driver.drain` runs its tasks."""
    with Platform.open(settings(tmp_path / "data", encoders)) as opened:
        yield opened
