"""Concepts in a vector store that is a server: it may be away, and lose everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.local_platform import running
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.servers.qdrant_server import qdrant_server

from cocu.api.queries import concept_vectors as queries
from cocu.client import CocuClient
from cocu.errors import UnavailableError
from cocu.vectors import ConceptVectors

WORDS = ("dog", "cat", "bench", "tree", "car", "boat", "dog boat", "cat car")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_near__is_the_same_while_the_server_is_away_and_after_it_lost_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "CHECK_SECONDS", 0.001)
    encoder = write_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    with (
        qdrant_server(tmp_path / "points") as store,
        running(tmp_path / "data", encoder, vectors_url=store.url, vectors_grpc=False) as server,
        CocuClient(server.url) as client,
    ):
        vocabulary = client.vocabularies.from_file(tmp_path / "words.txt")
        points = ConceptVectors(server.platform.vectors)
        owner = {
            "encoder": server.platform.encoders.describe().hash,
            "tenant": "default",
            "vocabulary": vocabulary.id,
        }
        before = client.vocabularies.near(vocabulary.id, text="dog")
        assert before[0].name == "dog"
        until(lambda: points.count(**owner) == len(WORDS))
        assert client.vocabularies.near(vocabulary.id, text="dog") == before
        store.kill()
        assert client.vocabularies.near(vocabulary.id, text="dog") == before
        store.lose_everything()

        def is_filled_again() -> bool:
            assert client.vocabularies.near(vocabulary.id, text="dog") == before
            try:
                return points.count(**owner) == len(WORDS)
            except UnavailableError:  # nobody asks it for some seconds after it did not answer
                return False

        until(is_filled_again)
        assert client.vocabularies.near(vocabulary.id, text="dog") == before
