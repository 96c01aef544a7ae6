"""The parent of a run's processes. It outlives the service and writes their exit status to a file.

python -m cocu_training.service.supervisor STATUS_FILE LOCK_FILE COMMAND…

SIGTERM is passed on once, and only to the command: torchrun passes it on to the ranks itself, and a second
one would end them before their checkpoint. The lock prevents a second supervisor of the same run. This module
imports nothing large, because its process lives as long as the run.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

HELD = 73
"""Exit status if the run has a supervisor already."""


NOT_STARTED = 127


class Supervisor:
    """Runs one command and passes SIGTERM on to it."""

    def __init__(self) -> None:
        self._stop_requested = False
        self._passed_on = False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._request_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self, command: list[str]) -> int:
        """Run the command; return its exit status, or the negative number of the signal that ended it."""
        try:
            self._process = subprocess.Popen(command)  # noqa: S603 - the service's own command
        except OSError as error:
            print(f"cannot start {command[0]}: {error}", file=sys.stderr)
            return NOT_STARTED
        # SIGTERM may have arrived before the command was started.
        self._pass_on()
        return self._process.wait()

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self._stop_requested and not self._passed_on and self._process is not None:
            self._passed_on = True
            self._process.send_signal(signal.SIGTERM)


def main() -> None:
    """Run the command that the arguments give."""
    status_file, lock_file, *command = sys.argv[1:]
    with Path(lock_file).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(HELD)
        write_status(Path(status_file), Supervisor().run(command))


def write_status(file: Path, status: int) -> None:
    """Write the exit status atomically."""
    partial = file.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as out:
        json.dump({"status": status}, out)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


if __name__ == "__main__":
    main()
