"""Starts queued runs one at a time, watches their processes, and finds them again after a restart.

A run's processes are an attendant, torchrun under it, and the ranks. They are not the service's to lose: they
go on when it is killed, and are known by the attendant's number and the time it began, or by a mark in their
environment where not even that was written down. An end that nobody saw, and that left no exit status, was a
loss (of power, or memory): the run is queued again, at its old place, and goes on from its last checkpoint.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

import torch

from cocu_training.service import processes
from cocu_training.service.configurations import write_configuration
from cocu_training.service.errors import InvalidError
from cocu_training.service.folder import START, RunFolder, Tail
from cocu_training.service.outcomes import outcome_of
from cocu_training.service.runs import RunRecord, Runs
from cocu_training.service.settings import ServiceSettings

log = logging.getLogger(__name__)

STRAY_SECONDS = 30.0
_SECRETS = ("COCU_API_KEY", "COCU_TRAINING_PLATFORM_KEYS")


class Runner:
    """Runs the queue in a thread while the context lasts."""

    def __init__(self, runs: Runs, settings: ServiceSettings) -> None:
        self._runs = runs
        self._settings = settings
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="runner", daemon=True)
        # The attendant as a child, while it is one: it must be reaped.
        self._child: subprocess.Popen[bytes] | None = None
        self._tail: tuple[str, Tail] | None = None
        self._told: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ending.set()
        self._wake.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether it does its work."""
        return self._thread.is_alive()

    def look(self) -> None:
        """Look at the queue now instead of in a moment."""
        self._wake.set()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._once(self._step)
            self._wake.wait(self._settings.poll_seconds)
            self._wake.clear()
        if not self._settings.leave_running:
            self._once(self._hand_back)

    def _once(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, sqlite3.Error):
            # A full disk, say: nothing was changed that was not written, and the next round tries again.
            log.exception("the runner could not go on; it tries again")
            self._ending.wait(1.0)

    def _step(self) -> None:
        active = self._runs.active()
        if active is not None:
            self._watch(active)
            return
        queued = self._runs.next_queued()
        if queued is not None:
            self._start(queued)

    def _hand_back(self) -> None:
        """Stop what runs, with a checkpoint; it is queued, and goes on when the service is back."""
        while (active := self._runs.active()) is not None:
            if self._find(active) is not None:
                self._tell_to_stop(active)
            self._watch(active)
            time.sleep(min(self._settings.poll_seconds, 0.1))

    def _start(self, record: RunRecord) -> None:
        folder = RunFolder(self._settings.run_folder(record.id))
        lines, file_before = folder.before_start()
        begun = self._runs.begin(record.id, lines=lines, file_before=file_before)
        if begun is None:
            # Stopped or deleted since; so nothing is written before this.
            return
        folder.status_file(0).parent.mkdir(parents=True, exist_ok=True)
        try:
            write_configuration(record.configuration, folder.configuration, files=self._settings.files)
        except InvalidError as error:
            self._runs.end(record.id, state="failed", detail=str(error))
            return
        self._tail = self._told = None
        command = [
            *(sys.executable, "-m", "cocu_training.service.attendant"),
            *(str(folder.status_file(begun.starts)), str(folder.lock)),
            *(self._settings.command or self._torchrun()),
            *self._arguments(begun, folder),
        ]
        with folder.log.open("ab") as output:
            output.write(f"{START}\n".encode())
            output.flush()
            self._child = subprocess.Popen(  # noqa: S603 - the service's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(begun),
                start_new_session=True,
            )
        self._remember(begun, self._child.pid)
        log.info("run %s: start %d, process %d", begun.id, begun.starts, self._child.pid)

    def _remember(self, record: RunRecord, pid: int) -> None:
        began = processes.began(pid)
        if began is not None:
            self._runs.attended(record.id, pid=pid, process_started=began)

    def _torchrun(self) -> tuple[str, ...]:
        devices = self._settings.devices or torch.cuda.device_count() or 1
        torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
        return (*torchrun, f"--nproc-per-node={devices}", "-m", "cocu_training.command_line")

    def _arguments(self, record: RunRecord, folder: RunFolder) -> list[str]:
        arguments = ["run", "--curation", record.curation, "--output", str(folder.output)]
        arguments += ["--configuration", str(folder.configuration)]
        arguments += ["--resume"] if record.starts > 1 else []
        return [*arguments, *(["--evaluate", self._settings.evaluate] if self._settings.evaluate else [])]

    def _environment(self, record: RunRecord) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        key = self._settings.platform_keys.get(record.tenant)
        return {
            **kept,
            **({"COCU_API_KEY": key} if key else {}),
            "COCU_SERVER": self._settings.platform,
            "PYTHONUNBUFFERED": "1",
            # How long torchrun waits for the ranks' checkpoint.
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(self._settings.stop_seconds)),
            processes.MARK: _mark(record),
        }

    def _watch(self, record: RunRecord) -> None:
        if self._child is not None:
            self._child.poll()
        # In this order: what ends now has written its last records before.
        pid = self._find(record)
        self._take_records(record)
        if pid is None:
            self._ended(self._runs.get(record.id))
        elif record.state == "stopping":
            self._tell_to_stop(record)

    def _find(self, record: RunRecord) -> int | None:
        """The attendant, where it lives."""
        if record.pid is not None and record.process_started is not None:
            return record.pid if processes.is_alive(record.pid, record.process_started) else None
        if RunFolder(self._settings.run_folder(record.id)).status(record.starts) is not None:
            return None
        # The service was killed in the moment between starting it and writing that down.
        attendant = next(iter(processes.first_of(_mark(record))), None)
        if attendant is not None:
            self._remember(record, attendant)
        return attendant

    def _take_records(self, record: RunRecord) -> None:
        if self._tail is None or self._tail[0] != _mark(record):
            # As it is now: lines that were taken since must not be taken again.
            record = self._runs.get(record.id)
            file = RunFolder(self._settings.run_folder(record.id)).records
            self._tail = (_mark(record), Tail(file, lines=record.lines, file_before=record.file_before))
        while lines := self._tail[1].read():
            try:
                self._runs.append(record.id, lines)
            except (OSError, sqlite3.Error):
                self._tail = None
                raise

    def _tell_to_stop(self, record: RunRecord) -> None:
        """SIGTERM once; everything is killed when it does not help."""
        now = time.monotonic()
        if self._told is None or self._told[0] != _mark(record):
            self._told = (_mark(record), now + self._settings.stop_seconds)
            pid = self._find(record)
            if pid is not None:
                processes.terminate(pid)
        elif now > self._told[1]:
            log.warning("run %s did not stop in %g s; it is killed", record.id, self._settings.stop_seconds)
            processes.kill_marked(_mark(record), seconds=0.0)

    def _ended(self, record: RunRecord) -> None:
        self._child = None
        folder = RunFolder(self._settings.run_folder(record.id))
        status = folder.status(record.starts)
        # Ranks whose torchrun was killed do not notice, and hold the devices.
        if not processes.kill_marked(_mark(record), seconds=STRAY_SECONDS if status is None else 0.0):
            log.error("run %s has processes that cannot be ended", record.id)
            return
        self._take_records(record)
        record = self._runs.get(record.id)
        state, detail = outcome_of(
            record,
            status=status,
            handed_back=self._ending.is_set(),
            log_end=folder.log_end(),
            most_interruptions=self._settings.most_interruptions,
        )
        log.info("run %s: %s, exit status %s", record.id, state, status)
        self._runs.end(record.id, state=state, detail=detail, interrupted=status is None)


def _mark(record: RunRecord) -> str:
    return f"{record.id}.{record.starts}"
