"""A small curation for tests of the stream, on a platform in this process or one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.local_platform import picture, running, tar_of
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.client import CocuClient

WORDS = ("dog", "cat", "tree", "car")
SAMPLES = 26


@dataclass(frozen=True)
class Served:
    url: str
    curation: str
    tokenizer: Path


@contextmanager
def serving(folder: Path, tokenizer: Path) -> Iterator[Served]:
    """A platform in this process, with the curation."""
    encoder = write_tiny_encoder(folder / "encoder")
    with running(folder / "data", encoder, samples_per_shard=10) as server:
        yield Served(server.url, curate(server.url, folder), tokenizer)


@contextmanager
def process(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A platform in a process of its own, which is killed at the end; it finds again what it had."""
    encoder = folder / "encoder"
    if not encoder.exists():
        write_tiny_encoder(encoder)
    command = [sys.executable, "-m", "cocu", "serve", "--port", str(port)]
    command += ["--data", str(folder / "data"), "--encoder", str(encoder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert "http" in server.stdout.readline()
            yield server
        finally:
            server.kill()


def curate(url: str, folder: Path) -> str:
    """The id of a curation of 26 noisy images by four words."""
    members: dict[str, bytes] = {}
    for number in range(SAMPLES):
        members[f"{number:03d}.jpg"] = picture(number, side=40)
        members[f"{number:03d}.txt"] = f"a {WORDS[number % 4]} and a {WORDS[number // 4 % 4]}".encode()
    (folder / "samples.tar").write_bytes(tar_of(members))
    (folder / "words.txt").write_text("\n".join(WORDS))
    with CocuClient(url) as client:
        dataset = client.datasets.create("samples")
        client.datasets.upload(dataset.id, folder / "samples.tar")
        client.datasets.wait(dataset.id, timeout=60)
        vocabulary = client.vocabularies.from_file(folder / "words.txt")
        curation = client.curations.create(dataset.id, vocabulary=vocabulary.id)
        client.curations.wait(curation.id, timeout=120)
        return curation.id
