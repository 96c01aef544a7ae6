"""Starts queued runs one at a time, watches their processes, and finds them again after a restart.

A run's processes are a supervisor, its child torchrun, and the ranks. They go on when the service is killed.
The service finds them again by the number and start time of the supervisor, or, if it was killed before it
stored these, by a mark in their environment. If the processes have ended without an exit status (power loss,
out of memory), the run is queued again, at its old place, and goes on from its last checkpoint.
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

from cocu_training.error_file import ERROR_FILE
from cocu_training.service import processes
from cocu_training.service.configurations import write_configuration
from cocu_training.service.errors import InvalidError
from cocu_training.service.exit_status import outcome_of
from cocu_training.service.run_dir import START, RunFolder, Tail
from cocu_training.service.runs import RunRecord, Runs
from cocu_training.service.settings import ServiceSettings

log = logging.getLogger(__name__)

STRAY_SECONDS = 30.0
_SECRETS = ("COCU_API_KEY", "COCU_TRAINING_PLATFORM_KEYS")


class Runner:
    """Works through the queue on a thread until the block ends."""

    def __init__(self, runs: Runs, settings: ServiceSettings) -> None:
        self._runs = runs
        self._settings = settings
        self._wake_event = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="runner", daemon=True)
        # The supervisor, if this process has started it: a child must be reaped.
        self._child: subprocess.Popen[bytes] | None = None
        self._tail: tuple[str, Tail] | None = None
        self._stop_sent: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ending.set()
        self._wake_event.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Look at the queue at once, not after the next pause."""
        self._wake_event.set()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._once(self._step)
            self._wake_event.wait(self._settings.poll_seconds)
            self._wake_event.clear()
        if not self._settings.leave_running:
            self._once(self._hand_back)

    def _once(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, sqlite3.Error):
            # For example a full disk. Changes are stored in transactions, so the next round can try again.
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
        """Stop the running run, with a checkpoint. It is queued, and goes on when the service is back."""
        while (active := self._runs.active()) is not None:
            if self._find(active) is not None:
                self._tell_to_stop(active)
            self._watch(active)
            time.sleep(min(self._settings.poll_seconds, 0.1))

    def _start(self, record: RunRecord) -> None:
        folder = RunFolder(self._settings.run_folder(record.id))
        lines, file_before = folder.before_start()
        started = self._runs.start(record.id, lines=lines, file_before=file_before)
        if started is None:
            # Stopped or deleted since. Its folder may be removed, so nothing is written before this point.
            return
        folder.status_file(0).parent.mkdir(parents=True, exist_ok=True)
        try:
            write_configuration(record.configuration, folder.configuration, files=self._settings.files)
        except InvalidError as error:
            self._runs.end(record.id, state="failed", detail=str(error))
            return
        self._tail = self._stop_sent = None
        command = [
            *(sys.executable, "-m", "cocu_training.service.supervisor"),
            *(str(folder.status_file(started.starts)), str(folder.lock)),
            *(self._settings.command or self._torchrun()),
            *self._arguments(started, folder),
        ]
        with folder.log.open("ab") as output:
            output.write(f"{START}\n".encode())
            output.flush()
            self._child = subprocess.Popen(  # noqa: S603 - the service's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(started, folder),
                start_new_session=True,
            )
        self._remember(started, self._child.pid)
        log.info("run %s: start %d, process %d", started.id, started.starts, self._child.pid)

    def _remember(self, record: RunRecord, pid: int) -> None:
        start_time = processes.start_time(pid)
        if start_time is not None:
            self._runs.started(record.id, pid=pid, process_started=start_time)

    def _torchrun(self) -> tuple[str, ...]:
        # With a command of its own, a service needs no torch.
        import torch  # noqa: PLC0415

        devices = self._settings.devices or torch.cuda.device_count() or 1
        torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
        return (*torchrun, f"--nproc-per-node={devices}", "-m", "cocu_training.command_line")

    def _arguments(self, record: RunRecord, folder: RunFolder) -> list[str]:
        arguments = ["run", "--curation", record.curation, "--output", str(folder.output)]
        arguments += ["--configuration", str(folder.configuration)]
        arguments += ["--resume"] if record.starts > 1 else []
        return [*arguments, *(["--evaluate", self._settings.evaluate] if self._settings.evaluate else [])]

    def _environment(self, record: RunRecord, folder: RunFolder) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        key = self._settings.platform_keys.get(record.tenant)
        return {
            **inherited,
            **({"COCU_API_KEY": key} if key else {}),
            "COCU_SERVER": self._settings.platform,
            "PYTHONUNBUFFERED": "1",
            # How long torchrun waits for the ranks' checkpoint.
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(self._settings.stop_seconds)),
            ERROR_FILE: str(folder.error_file(record.starts)),
            processes.MARK: _mark(record),
        }

    def _watch(self, record: RunRecord) -> None:
        if self._child is not None:
            self._child.poll()
        # In this order: if the processes have ended now, they have written their last records before.
        pid = self._find(record)
        self._take_records(record)
        if pid is None:
            self._ended(self._runs.get(record.id))
        elif record.state == "stopping":
            self._tell_to_stop(record)

    def _find(self, record: RunRecord) -> int | None:
        """The supervisor, if it is alive."""
        if record.pid is not None and record.process_started is not None:
            return record.pid if processes.is_alive(record.pid, record.process_started) else None
        if RunFolder(self._settings.run_folder(record.id)).status(record.starts) is not None:
            return None
        # The service was killed between starting the supervisor and storing its number.
        supervisor = next(iter(processes.find_roots(_mark(record))), None)
        if supervisor is not None:
            self._remember(record, supervisor)
        return supervisor

    def _take_records(self, record: RunRecord) -> None:
        if self._tail is None or self._tail[0] != _mark(record):
            # Read again: lines that became events meanwhile must not be taken twice.
            record = self._runs.get(record.id)
            file = RunFolder(self._settings.run_folder(record.id)).records
            self._tail = (_mark(record), Tail(file, lines=record.lines, file_before=record.file_before))
        while lines := self._tail[1].read():
            try:
                self._runs.append(record.id, lines)
            except (OSError, sqlite3.Error):
                # The lines were read but not stored: start again from the stored number.
                self._tail = None
                raise

    def _tell_to_stop(self, record: RunRecord) -> None:
        """Send SIGTERM once; kill all processes if they do not end in time."""
        now = time.monotonic()
        if self._stop_sent is None or self._stop_sent[0] != _mark(record):
            self._stop_sent = (_mark(record), now + self._settings.stop_seconds)
            pid = self._find(record)
            if pid is not None:
                processes.terminate(pid)
        elif now > self._stop_sent[1]:
            log.warning("run %s did not stop in %g s; it is killed", record.id, self._settings.stop_seconds)
            processes.kill_marked(_mark(record), seconds=0.0)

    def _ended(self, record: RunRecord) -> None:
        self._child = None
        folder = RunFolder(self._settings.run_folder(record.id))
        status = folder.status(record.starts)
        # Ranks whose torchrun was killed go on, and keep the devices.
        if not processes.kill_marked(_mark(record), seconds=STRAY_SECONDS if status is None else 0.0):
            log.error("run %s has processes that cannot be killed", record.id)
            return
        self._take_records(record)
        record = self._runs.get(record.id)
        state, detail = outcome_of(
            record,
            status=status,
            handed_back=self._ending.is_set(),
            failure=folder.failure(record.starts),
            max_interruptions=self._settings.max_interruptions,
        )
        log.info("run %s: %s, exit status %s", record.id, state, status)
        self._runs.end(record.id, state=state, detail=detail, interrupted=status is None)


def _mark(record: RunRecord) -> str:
    return f"{record.id}.{record.starts}"
