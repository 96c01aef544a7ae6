"""The distributed platform as processes of its own: API, workers and sweepers, started by their commands.

    with redis_server() as redis, Distributed(folder, broker_url=redis.url, encoders_url=…) as platform:
        platform.start_api(), platform.start_worker(), platform.start_sweeper()
        with platform.client() as client:
            outcome = curate(client, folder)

Whatever else the platform is made of is said by settings: catalog_url, objects_url, vectors_url …
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select
from tests.local_platform import running
from tests.pipeline.pipeline_driver import WORDS, some_samples, tar_of

from cocu.catalog import Catalog, models
from cocu.catalog.states import Stage, TaskState
from cocu.client import CocuClient
from cocu.settings import Settings

REPOSITORY = Path(__file__).parent.parent.parent
PATIENCE = 150.0
WARNINGS = "error,ignore:You're running the worker with superuser"
QUICK = {
    "lease_seconds": 2.0,
    "sweep_seconds": 0.2,
    "resend_seconds": 1.0,
    "retry_seconds": 0.1,
    "broker_seconds": 1.0,
    "samples_per_shard": 25,
    # There is seldom a vector store beside these tests, and search is not what they are about.
    "vectors_url": "http://127.0.0.1:9",
}
"""Settings with short times, so that faults are noticed soon."""


class Part:
    """One process of the platform, a session of its own: killing it kills its children too."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        module = "tests.faults.faulty_worker" if "COCU_TEST_FAULTS" in environment else "cocu"
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                env=dict(environment),
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Return the child processes of a worker."""
        return children_of(self.process.pid)

    def said(self) -> str:
        """Return what it has printed and logged."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str) -> str:
        """Wait until it has printed a line with this text; return the line."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.said().splitlines():
                if text in line:
                    return line
            assert self.alive, f"it ended:\n{self.said()}"
            time.sleep(0.02)
        raise AssertionError(f"it does not say {text!r}:\n{self.said()}")

    def kill(self) -> None:
        """Send SIGKILL to it and its children at the same time."""
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def terminate(self, *, within: float = 30.0) -> int:
        """Stop it by SIGTERM, as containers are stopped; return the exit code. Fails if it takes too long."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not stop within {within} s:\n{self.said()}") from None


class Distributed:
    """A platform in a folder; every part that was started is killed at the end of the block."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"data_folder": folder / "data", **QUICK, **settings}
        self.parts: list[Part] = []
        self.url = ""
        self._catalog: Catalog | None = None

    def environment(self, **changes: Any) -> dict[str, str]:
        """The environment of a part, one core each."""
        single = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": WARNINGS, "PYTHONUNBUFFERED": "1"}
        variables = {
            f"COCU_{name.upper()}": _text(value) for name, value in (self.settings | changes).items()
        }
        return {**os.environ, **single, **variables}

    def start(self, *command: str, **changes: Any) -> Part:
        """Starts `cocu COMMAND` with these changes of the settings."""
        log = self.folder / f"{command[0]}-{len(self.parts)}.log"
        changes = {"heartbeat_file": log.with_suffix(".heartbeat"), **changes}
        part = Part(list(command), self.environment(**changes), log)
        self.parts.append(part)
        return part

    def start_api(self, **changes: Any) -> Part:
        """Starts the API; `client()` and `url` are of the latest one."""
        part = self.start("serve", "--port", "0", **changes)
        self.url = part.wait_for("cocu on http").split("cocu on ")[1].split(",")[0]
        return part

    def start_worker(
        self,
        *,
        queues: str = "",
        processes: int = 1,
        wait: bool = True,
        faults: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Part:
        """Starts a worker, and waits until it takes messages. faults: see `faulty_worker`."""
        options = ["--queues", queues] if queues else []
        if faults is not None:
            changes["test_faults"] = dict(faults)
        part = self.start("worker", "--processes", str(processes), *options, **changes)
        if wait:
            part.wait_for(" ready.")
        return part

    def start_sweeper(self, **changes: Any) -> Part:
        """Starts a sweeper."""
        part = self.start("sweeper", **changes)
        part.wait_for("sweeping every")
        return part

    def catalog(self) -> Catalog:
        """Return the catalog for reading; it is closed with the platform."""
        if self._catalog is None:
            self._catalog = Catalog.open(Settings(**self.settings).catalog_url)
        return self._catalog

    def tasks(self, dataset: str | None = None) -> list[Any]:
        """Return every task (of a dataset) from the catalog, except those of the vector store."""
        of_vectors = (Stage.INDEX, Stage.INDEX_CONCEPTS)
        statement = select(models.Task.__table__).where(models.Task.stage.not_in(of_vectors))
        if dataset is not None:
            statement = statement.where(models.Task.dataset_id == dataset)
        with self.catalog().read() as connection:
            return list(connection.execute(statement))

    def running(self, dataset: str | None = None) -> dict[str, int]:
        """Return the ids of the processes that run tasks (of a dataset) now, by task."""
        held = [task for task in self.tasks(dataset) if task.state == TaskState.RUNNING]
        return {task.id: int(task.lease_owner.split(":")[1]) for task in held}

    def busy(self, dataset: str | None = None, *, but: Container[tuple[str, int]] = ()) -> tuple[str, int]:
        """Wait for a running task; return it and its process. but: tasks to ignore."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for held in self.running(dataset).items():
                if held not in but:
                    return held
            time.sleep(0.01)
        raise AssertionError("no task runs")

    @contextmanager
    def undone(self) -> Iterator[Self]:
        """Kill at the end of the block the parts that were started in it; the others go on."""
        before = len(self.parts)
        try:
            yield self
        except BaseException:
            self.tell()
            raise
        finally:
            for part in self.parts[before:]:
                part.kill()

    def tell(self) -> None:
        """Print the ends of all logs, for a test that fails."""
        for part in self.parts:
            sys.stderr.write(f"--- {part.log.name}\n{part.said()[-4000:]}\n")

    def client(self, **options: Any) -> CocuClient:
        """A client of the API."""
        return CocuClient(self.url, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self.parts:
            part.kill()
        if self._catalog is not None:
            self._catalog.close()
        if error is not None:
            self.tell()


def _text(value: object) -> str:
    """Return the value of the environment variable for a setting."""
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def children_of(parent: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    children = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            children.append(int(folder.name))
    return sorted(children)


UPLOADS = 2
SAMPLES = 75
"""Of each upload: with 25 samples to a shard, a curation has 6 shards and 6 × 4 + 2 tasks."""


def upload(client: CocuClient, folder: Path, *, uploads: int = UPLOADS, samples: int = SAMPLES) -> str:
    """Send the uploads and wait until they are ingested; return the id of the dataset."""
    dataset = client.datasets.create(f"set {secrets.token_hex(4)}")
    for number in range(uploads):
        own = some_samples(samples, first=number * samples)
        file = folder / f"{number}.tar"
        file.write_bytes(tar_of(own | {f"bad{number}": (b"no image", "a cat")}))
        client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=PATIENCE)
    return dataset.id


def begin(client: CocuClient, folder: Path, dataset: str) -> str:
    """Create the curation; return its id."""
    words = folder / "words.txt"
    words.write_text("\n".join(WORDS))
    vocabulary = client.vocabularies.from_file(words)
    created = client.curations.create(dataset, vocabulary=vocabulary.id, parameters={"neighbours": 4})
    return created.id


def outcome(client: CocuClient, curation: str, *, timeout: float = 2 * PATIENCE) -> dict[str, Any]:
    """Wait for the curation; return its result in a form that is comparable between platforms."""
    ended = client.curations.wait(curation, timeout=timeout)
    report = client.datasets.report(ended.dataset)
    archived = [archive.key for archive in client.archives.list(curation)] if ended.completed else []
    return {
        "state": ended.state,
        "content_hash": ended.content_hash,
        "statistics": ended.statistics,
        "samples": ended.samples,
        "archives": archived,
        "report": report.model_dump(exclude={"dataset"}),
        "stages": {
            stage.stage: (stage.done, stage.total, stage.failed)
            for stage in ended.stages
            if not stage.stage.startswith("index")
        },
    }


def curate(client: CocuClient, folder: Path, **sizes: int) -> dict[str, Any]:
    """Upload, curate, wait."""
    return outcome(client, begin(client, folder, upload(client, folder, **sizes)))


def undisturbed(folder: Path, encoders: Path, **sizes: int) -> dict[str, Any]:
    """The same in one process without servers: the result that every disturbed run must have."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"samples_per_shard": QUICK["samples_per_shard"], "sweep_seconds": 0.2}
    with running(folder / "data", encoders, **chosen) as server, CocuClient(server.url) as client:
        return curate(client, folder, **sizes)


@contextmanager
def watched(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer: nothing in it may hang."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"it took {took:.1f} s, and may take {seconds} s"
