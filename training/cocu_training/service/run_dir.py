"""The folder of one run, and the reader of its records."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_LINES = 1000
MAX_LOG_CHARACTERS = 4000
_CHECKPOINT = re.compile(r"step-(\d{9})\.pt")
START = "--- start of the run's processes ---"
"""The first line that each start writes to the log."""
_REPORT = re.compile(
    r"^.*\btorch/distributed/elastic/.*failed \(exitcode: (-?\d+)\) local_rank: (\d+).*$", re.M
)
"""The first line of torchrun's report of a failure; what the ranks print comes before it."""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Line = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RunFolder:
    """The files of a run: configuration, log, exit statuses and results.

    configuration.json, log.txt, lock, starts/N.json, starts/N.error, and output/, which is the trainer's:
    run.json, records.jsonl, tensorboard/, checkpoints/, evaluations.
    """

    path: Path

    @property
    def output(self) -> Path:
        """What the trainer writes."""
        return self.path / "output"

    @property
    def configuration(self) -> Path:
        """The configuration for the trainer."""
        return self.path / "configuration.json"

    @property
    def log(self) -> Path:
        """The output of all its processes."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Locked by the supervisor."""
        return self.path / "lock"

    @property
    def records(self) -> Path:
        """A line of JSON for each record."""
        return self.output / "records.jsonl"

    def status_file(self, start: int) -> Path:
        """The file of the exit status of a start."""
        return self.path / "starts" / f"{start}.json"

    def error_file(self, start: int) -> Path:
        """The file in which the first rank of a start to fail writes why."""
        return self.path / "starts" / f"{start}.error"

    def status(self, start: int) -> int | None:
        """The exit status of a start; None where the supervisor did not write it."""
        try:
            return int(json.loads(self.status_file(start).read_text(encoding="utf-8"))["status"])
        except FileNotFoundError:
            return None

    def last_checkpoint(self) -> int:
        """The step of the last checkpoint, 0 where there is none."""
        matches = (_CHECKPOINT.fullmatch(file.name) for file in (self.output / "checkpoints").glob("*.pt"))
        return max((int(match[1]) for match in matches if match), default=0)

    def before_start(self) -> tuple[int, int | None]:
        """The `lines` and `file_before` of `Tail` for the next start.

        When it starts, the trainer writes a new file of records, with those up to its last checkpoint.
        """
        step = self.last_checkpoint()
        kept = sum(1 for _, values in _parsed(self.records) if values.get("step", 0) <= step)
        return kept, inode(self.records)

    def failure(self, start: int, lines: int = 15) -> str:
        """Why the last start failed: the last lines of what a rank wrote, or else of the log.

        Empty where nothing was written. The log is read without colours and torchrun's report.
        """
        log = self._log_of_last_start()
        report = _REPORT.search(log)
        text = self._error(start) or (log if report is None else log[: report.start()])
        if report is not None:
            # A rank that was killed says nothing itself.
            text = f"{text}\nrank {report[2]} ended with exit status {report[1]}"
        stripped = [line.rstrip() for line in text.splitlines()]
        return "\n".join([line for line in stripped if line][-lines:])[-MAX_LOG_CHARACTERS:]

    def _error(self, start: int) -> str:
        try:
            return self.error_file(start).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _log_of_last_start(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return _COLOURS.sub("", text).rpartition(START)[2].replace("\r", "\n")


class Tail:
    """Reads the new lines of a file of records: those after the first `lines`.

    The trainer replaces the file when it starts. Until then the inode is `file_before`, and no line is new.
    """

    def __init__(self, file: Path, *, lines: int, file_before: int | None) -> None:
        self._file = file
        self._lines = lines
        self._before = file_before
        self._offset: int | None = None

    def read(self) -> list[Line]:
        """The next lines, at most MAX_LINES; an empty list if there are none now."""
        current = inode(self._file)
        if current is None or current == self._before:
            return []
        with self._file.open("rb") as file:
            if self._offset is None:
                for _ in range(self._lines):
                    file.readline()
                self._offset = file.tell()
            file.seek(self._offset)
            new_lines: list[Line] = []
            for raw in file:
                # The trainer may still be writing the last line.
                if not raw.endswith(b"\n") or len(new_lines) == MAX_LINES:
                    break
                self._offset += len(raw)
                new_lines.append(_line(raw))
        return new_lines


def inode(file: Path) -> int | None:
    """The inode of a file; None where it does not exist."""
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return None


def _parsed(file: Path) -> Iterator[Line]:
    try:
        with file.open("rb") as lines:
            for raw in lines:
                if raw.endswith(b"\n"):
                    yield _line(raw)
    except FileNotFoundError:
        return


def _line(raw: bytes) -> Line:
    try:
        values = json.loads(raw)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        # A damaged line still counts, so that `lines` stays right.
        return "event", {"event": "unreadable"}
    kind = values.pop("kind", "event")
    known = kind if kind in {"step", "evaluation", "event"} else "event"
    return known, {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
