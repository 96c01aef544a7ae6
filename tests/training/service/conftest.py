"""A platform with one curation, and training services that use it with a stand-in for the trainer."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.training.service import stand_in

from cocu.client import CocuClient
from cocu_training.service.settings import ServiceSettings

CAPTIONS = {f"sample {number}": "a dog on a bench by a tree" for number in range(40)}
ENDED = {"stopped", "completed", "failed"}


@dataclass(frozen=True)
class Platform:
    """The URL of a platform, and the id of its curation."""

    url: str
    curation: str


@dataclass
class Training:
    """A service, and requests to it."""

    url: str
    settings: ServiceSettings
    curation: str
    http: httpx.Client = field(repr=False)

    def submit(
        self, *, steps: int = 8, seed: int = 0, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        answer = self.http.post("/v1/runs", json=self.body(steps=steps, seed=seed), headers=headers)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def body(self, **configuration: object) -> dict[str, Any]:
        return {"curation": self.curation, "preset": "tiny", "configuration": configuration}

    def get(self, run: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/runs/{run}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, run: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Wait until a run has ended, or until `until` holds; return the run."""
        is_so = until or (lambda seen: seen["state"] in ENDED)
        end = time.monotonic() + 120
        while not is_so(seen := self.get(run)):
            assert time.monotonic() < end, seen
            time.sleep(0.05)
        return seen

    def output(self, run: str) -> Path:
        return self.settings.run_folder(run) / "output"

    def starts(self, run: str) -> list[list[int]]:
        """(process, first step) of each start of the stand-in."""
        lines = (self.output(run) / "starts").read_text().splitlines()
        return [[int(number) for number in line.split()] for line in lines]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    (folder / "samples.tar").write_bytes(tar_of_samples(CAPTIONS))
    (folder / "things.txt").write_text("dog\nbench\ntree\n")
    with running(folder / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("samples")
        client.datasets.upload(dataset.id, folder / "samples.tar")
        client.datasets.wait(dataset.id, timeout=60)
        vocabulary = client.vocabularies.from_file(folder / "things.txt")
        curation = client.curations.create(dataset.id, vocabulary=vocabulary.id)
        yield Platform(server.url, client.curations.wait(curation.id, timeout=120).id)


def settings_of(folder: Path, platform: Platform, files: Path, **changes: object) -> ServiceSettings:
    values = {
        "data": folder,
        "platform": platform.url,
        "files": files,
        "command": (sys.executable, stand_in.__file__),
        "poll_seconds": 0.05,
        "stop_seconds": 20.0,
        **changes,
    }
    return ServiceSettings(**values)  # type: ignore[arg-type]


@contextmanager
def training_on(platform: Platform, settings: ServiceSettings) -> Iterator[Training]:
    # Where torch is absent the tests are skipped, but this file is read.
    from cocu_training.service.server import training_service

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        training_service(settings, listening) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield Training(url, settings, platform.curation, http)
    assert not (settings.data / "runs" / stand_in.DOUBLED).exists(), "two trainers at once"


@pytest.fixture
def training(tmp_path: Path, platform: Platform, repository: Path) -> Iterator[Training]:
    with training_on(platform, settings_of(tmp_path / "service", platform, repository)) as started:
        yield started
