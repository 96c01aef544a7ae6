"""Kills of services and of runs: both are real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("torch")

import httpx
from tests.servers.binaries import free_port
from tests.training.service import stand_in
from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu_training.service.database import InUseError
from cocu_training.service.processes import find_marked, kill_marked

pytestmark = pytest.mark.slow


STAND_IN = f"{sys.executable} {stand_in.__file__}"


class ServiceProcess:
    """`cocu-train serve` in a process that can be started and killed many times on one folder.

    trainer: the command that replaces torchrun, None for torchrun itself.
    """

    def __init__(
        self, folder: Path, platform: Platform, files: Path, *, trainer: str | None = STAND_IN
    ) -> None:
        self._settings = settings_of(folder, platform, files)
        self._curation = platform.curation
        self._trainer = trainer
        self._process: subprocess.Popen[bytes] | None = None
        self._http: list[httpx.Client] = []
        self._log = folder.with_suffix(".log")

    def start(self, *options: str) -> Training:
        port = free_port()
        serve = (sys.executable, "-m", "cocu_training.command_line", "serve", "--port", str(port))
        arguments = ["--data", str(self._settings.data), "--server", self._settings.platform]
        arguments += ["--files", str(self._settings.files)]
        arguments += [] if self._trainer is None else ["--command", self._trainer]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*serve, *arguments, *options], stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        self._http.append(httpx.Client(base_url=url, timeout=30))
        started = Training(url, self._settings, self._curation, self._http[-1])
        wait_for(lambda: self._answers(started))
        return started

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=60)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        for http in self._http:
            http.close()
        for folder in (self._settings.data / "runs").glob("run_*"):
            for start in range(1, 40):
                kill_marked(f"{folder.name}.{start}", seconds=0.0)
        assert not (self._settings.data / "runs" / stand_in.DOUBLED).exists(), "two trainers at once"

    def _answers(self, training: Training) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return training.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


def wait_for(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)


def steps(training: Training, run: str) -> list[int]:
    """The steps in the events of an ended run."""
    with training.http.stream("GET", f"/v1/runs/{run}/events", timeout=60) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    return [event["values"]["step"] for event in events if event["kind"] == "step"]


def recorded(training: Training, run: str) -> int:
    """The last step that the trainer has written."""
    file = training.output(run) / "records.jsonl"
    return max((json.loads(line)["step"] for line in file.read_text().splitlines()), default=0)


@pytest.fixture
def service(tmp_path: Path, platform: Platform, repository: Path) -> Iterator[ServiceProcess]:
    service = ServiceProcess(tmp_path / "service", platform, repository)
    try:
        yield service
    finally:
        service.close()


def test_killed_service__finds_the_run_that_went_on(service: ServiceProcess) -> None:
    training = service.start()
    run, queued = training.submit(steps=100_000)["id"], training.submit(steps=3)["id"]
    training.wait(run, lambda seen: seen["step"] >= 5)
    service.kill()
    last_step = recorded(training, run)
    wait_for(lambda: recorded(training, run) >= last_step + 5)

    training = service.start()
    training.wait(run, lambda seen: seen["step"] >= last_step + 5)
    assert len(training.starts(run)) == 1
    assert training.get(queued)["state"] == "queued"
    training.http.post(f"/v1/runs/{run}/stop")
    seen = training.wait(run)
    assert seen["state"] == "stopped"
    assert steps(training, run) == list(range(1, seen["step"] + 1))
    assert training.wait(queued)["state"] == "completed"


def test_service__killed_before_it_noted_the_process_finds_it(service: ServiceProcess) -> None:
    training = service.start()
    run = training.submit(steps=100_000)["id"]
    training.wait(run, lambda seen: seen["step"] >= 2)
    service.kill()
    with closing(sqlite3.connect(training.settings.data / "runs.sqlite")) as database, database:
        database.execute("UPDATE runs SET pid = NULL, process_started = NULL")
    training = service.start()
    last_step = recorded(training, run)
    training.wait(run, lambda seen: seen["step"] > last_step + 3)
    assert len(training.starts(run)) == 1
    training.http.post(f"/v1/runs/{run}/stop")
    assert training.wait(run)["state"] == "stopped"


def test_killed_service__learns_how_a_run_ended_meanwhile(service: ServiceProcess) -> None:
    training = service.start()
    done = training.submit(steps=40)["id"]
    training.wait(done, lambda seen: seen["step"] >= 5)
    service.kill()
    wait_for(lambda: not find_marked(f"{done}.1"))
    training = service.start()
    assert training.wait(done)["state"] == "completed"
    assert steps(training, done) == list(range(1, 41))

    crashed = training.submit(steps=40, seed=stand_in.CRASHES)["id"]
    wait_for((training.output(crashed) / "starts").exists)
    service.kill()
    wait_for(lambda: not find_marked(f"{crashed}.1"))
    training = service.start()
    seen = training.wait(crashed)
    assert seen["state"] == "failed"
    assert "the loss is not finite" in seen["detail"]


def test_lost_machine__resumes_the_run_from_its_checkpoint(service: ServiceProcess) -> None:
    training = service.start()
    run = training.submit(steps=60)["id"]
    training.wait(run, lambda seen: seen["step"] >= 9)
    service.kill()
    for pid in find_marked(f"{run}.1"):
        os.kill(pid, signal.SIGKILL)
    checkpoint = max(int(file.stem[5:]) for file in (training.output(run) / "checkpoints").glob("*.pt"))

    training = service.start()
    assert training.wait(run)["state"] == "completed"
    assert [step for _, step in training.starts(run)] == [0, checkpoint]
    told = steps(training, run)
    assert told[-(60 - checkpoint) :] == list(range(checkpoint + 1, 61))
    assert set(told) == set(range(1, 61))


def test_killed_supervisor__leaves_no_trainer_beside_the_next(service: ServiceProcess) -> None:
    training = service.start()
    run = training.submit(steps=60)["id"]
    training.wait(run, lambda seen: seen["step"] >= 6)
    trainer = training.starts(run)[0][0]
    supervisor = next(pid for pid in find_marked(f"{run}.1") if pid != trainer)
    os.kill(supervisor, signal.SIGKILL)
    training.wait(run, lambda seen: seen["starts"] == 2)
    assert trainer not in find_marked(f"{run}.1")
    assert training.wait(run)["state"] == "completed"
    # It was asked to stop, so that nothing was lost.
    assert training.starts(run)[1][1] >= 6


def test_stopped_service__hands_the_run_back_and_goes_on_with_it(service: ServiceProcess) -> None:
    training = service.start()
    run = training.submit(steps=60)["id"]
    training.wait(run, lambda seen: seen["step"] >= 6)
    service.kill(signal.SIGTERM)
    assert find_marked(f"{run}.1") == []
    training = service.start()
    seen = training.wait(run)
    assert (seen["state"], seen["starts"]) == ("completed", 2)
    assert steps(training, run) == list(range(1, 61))


def test_stopped_service__may_leave_the_run_to_itself(service: ServiceProcess) -> None:
    training = service.start("--leave-running")
    run = training.submit(steps=200)["id"]
    training.wait(run, lambda seen: seen["step"] >= 3)
    service.kill(signal.SIGTERM)
    assert find_marked(f"{run}.1") != []
    training = service.start()
    assert training.wait(run)["state"] == "completed"
    assert len(training.starts(run)) == 1


def test_service__killed_at_any_moment_loses_and_doubles_nothing(service: ServiceProcess) -> None:
    moments = random.Random(20261122)
    training = service.start()
    runs = [training.submit(steps=25)["id"] for _ in range(4)]
    for _ in range(4):
        time.sleep(moments.uniform(0.0, 1.5))
        service.kill()
        training = service.start()
    for run in runs:
        seen = training.wait(run)
        assert (seen["state"], seen["step"]) == ("completed", 25)
        assert len(training.starts(run)) == 1
        assert steps(training, run) == list(range(1, 26))


def test_deleted_run__whose_folder_was_left_is_removed_at_the_next_start(service: ServiceProcess) -> None:
    training = service.start()
    run = training.submit(steps=1)["id"]
    training.wait(run)
    service.kill()
    folder = training.settings.run_folder(run)
    with closing(sqlite3.connect(training.settings.data / "runs.sqlite")) as database, database:
        # As a service that is killed between its two steps leaves it.
        for statement in (
            "DELETE FROM events WHERE run = ?",
            "DELETE FROM runs WHERE id = ?",
            "INSERT INTO deleted VALUES (?)",
        ):
            database.execute(statement, (run,))
    assert folder.is_dir()
    training = service.start()
    assert not folder.exists()
    assert training.http.get("/v1/runs").json()["items"] == []


def test_second_service__is_refused_the_folder(training: Training, platform: Platform) -> None:
    with (
        pytest.raises(InUseError, match="another training service"),
        training_on(platform, training.settings),
    ):
        pass
