"""A platform with a vocabulary and a curation with it, for commands that are about vocabularies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.client import CocuClient

CAPTIONS = {f"{number}": "a dog on a bench" for number in range(6)} | {"cat": "a cat in a tree"}


@contextmanager
def curated_vocabulary(folder: Path, words: str) -> Iterator[tuple[str, str, str]]:
    """The address of a platform, a vocabulary of these words, and a curation with it of `pictures`."""
    encoder = write_tiny_encoder(folder / "encoder")
    (folder / "samples.tar").write_bytes(tar_of_samples(CAPTIONS))
    (folder / "words.txt").write_text(words)
    with running(folder / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("pictures")
        client.datasets.upload(dataset.id, folder / "samples.tar")
        client.datasets.wait(dataset.id, timeout=60)
        vocabulary = client.vocabularies.from_file(folder / "words.txt").id
        curation = client.curations.create(dataset.id, vocabulary=vocabulary)
        yield server.url, vocabulary, client.curations.wait(curation.id, timeout=120).id
