"""A platform with a tiny encoder, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workers.driving import settings
from tests.workers.tiny_encoder import write_tiny_encoder

from cocu.platform import Platform


@pytest.fixture
def encoders(tmp_path: Path) -> Path:
    """A folder with one encoder bundle."""
    write_tiny_encoder(tmp_path / "encoders" / "tiny")
    return tmp_path / "encoders"


@pytest.fixture
def platform(tmp_path: Path, encoders: Path) -> Iterator[Platform]:
    """A platform without workers; `driving.drain` runs its chunks."""
    with Platform.open(settings(tmp_path / "data", encoders)) as opened:
        yield opened
