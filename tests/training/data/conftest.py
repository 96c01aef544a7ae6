"""The curation that tests of the stream read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.training.data.platforms import Served, serving


@pytest.fixture(scope="session")
def tokenizer(repository: Path) -> Path:
    return repository / "examples" / "encoders" / "scenes" / "tokenizer.json"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("stream"), tokenizer) as platform:
        yield platform
