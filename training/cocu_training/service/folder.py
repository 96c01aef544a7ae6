"""The folder of one run, and how its records become events."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_AT_ONCE = 1000
LONGEST_LOG = 4000
_CHECKPOINT = re.compile(r"step-(\d{9})\.pt")
START = "--- start of the run's processes ---"
"""The line of the log that a start begins with."""
_REPORT = re.compile(
    r"^.*/torch/distributed/elastic/.*failed \(exitcode: (-?\d+)\) local_rank: (\d+).*$", re.M
)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Line = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RunFolder:
    """Where a run's configuration, log, exit statuses and results are.

    configuration.json, log.txt, lock, starts/N.json, and output/, which is the trainer's: run.json,
    records.jsonl, tensorboard/, checkpoints/, evaluations.
    """

    path: Path

    @property
    def output(self) -> Path:
        """What the trainer writes."""
        return self.path / "output"

    @property
    def configuration(self) -> Path:
        """What the trainer is told."""
        return self.path / "configuration.json"

    @property
    def log(self) -> Path:
        """What all its processes print."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by the attendant."""
        return self.path / "lock"

    @property
    def records(self) -> Path:
        """A line of JSON for each record."""
        return self.output / "records.jsonl"

    def status_file(self, start: int) -> Path:
        """Where the exit status of a start is written."""
        return self.path / "starts" / f"{start}.json"

    def status(self, start: int) -> int | None:
        """The exit status of a start; None where nobody saw it end."""
        try:
            return int(json.loads(self.status_file(start).read_text(encoding="utf-8"))["status"])
        except FileNotFoundError:
            return None

    def last_checkpoint(self) -> int:
        """The step of the last checkpoint, 0 where there is none."""
        found = (_CHECKPOINT.fullmatch(file.name) for file in (self.output / "checkpoints").glob("*.pt"))
        return max((int(match[1]) for match in found if match), default=0)

    def before_start(self) -> tuple[int, int | None]:
        """What `Tail` must know of the records before the trainer writes them anew.

        It keeps those up to its last checkpoint: how many they are, and the inode of the file.
        """
        step = self.last_checkpoint()
        kept = sum(1 for _, values in _parsed(self.records) if values.get("step", 0) <= step)
        return kept, inode(self.records)

    def log_end(self, lines: int = 15) -> str:
        """The last lines of the log of the last start, without colours and torchrun's report of them."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        text = _COLOURS.sub("", text).rpartition(START)[2].replace("\r", "\n")
        report = _REPORT.search(text)
        if report is not None:
            # A rank that was killed says nothing itself.
            text = f"{text[: report.start()]}\nrank {report[2]} ended with exit status {report[1]}"
        found = [line.rstrip() for line in text.splitlines()]
        return "\n".join([line for line in found if line][-lines:])[-LONGEST_LOG:]


class Tail:
    """The lines of a file of records that are new: those after the first `lines` of it.

    The trainer replaces the file when it starts, so nothing is new until it is another than `file_before`.
    """

    def __init__(self, file: Path, *, lines: int, file_before: int | None) -> None:
        self._file = file
        self._lines = lines
        self._before = file_before
        self._offset: int | None = None

    def read(self) -> list[Line]:
        """The next lines, at most MOST_AT_ONCE; empty where there are none now."""
        current = inode(self._file)
        if current is None or current == self._before:
            return []
        with self._file.open("rb") as file:
            if self._offset is None:
                for _ in range(self._lines):
                    file.readline()
                self._offset = file.tell()
            file.seek(self._offset)
            found: list[Line] = []
            for raw in file:
                # The last line may be still being written.
                if not raw.endswith(b"\n") or len(found) == MOST_AT_ONCE:
                    break
                self._offset += len(raw)
                found.append(_line(raw))
        return found


def inode(file: Path) -> int | None:
    """The number of a file, None where there is none."""
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
        # A line that is damaged still counts as one.
        return "event", {"event": "unreadable"}
    kind = values.pop("kind", "event")
    known = kind if kind in {"step", "evaluation", "event"} else "event"
    return known, {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
