"""The parent of a run's processes, which outlives the service: it writes down how they ended.

python -m cocu_training.service.attendant STATUS_FILE LOCK_FILE COMMAND…

SIGTERM is passed on, once, to the command alone: torchrun passes it on to the ranks itself, and a second
would end them before their checkpoint. The lock keeps a second attendant of the same run away. Imports
nothing heavy, because it stays for as long as the run.
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
"""The exit status where the run has an attendant already."""


NOT_STARTED = 127


class Attendant:
    """Runs one command and passes SIGTERM on to it."""

    def __init__(self) -> None:
        self._asked = False
        self._passed_on = False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self, command: list[str]) -> int:
        """The exit status of the command; negative, of the signal that ended it."""
        try:
            self._process = subprocess.Popen(command)  # noqa: S603 - the service's own command
        except OSError as error:
            print(f"cannot start {command[0]}: {error}", file=sys.stderr)
            return NOT_STARTED
        self._pass_on()
        return self._process.wait()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self._asked and not self._passed_on and self._process is not None:
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
        write_status(Path(status_file), Attendant().run(command))


def write_status(file: Path, status: int) -> None:
    """Write it so that it is there whole or not at all."""
    partial = file.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as out:
        json.dump({"status": status}, out)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


if __name__ == "__main__":
    main()
