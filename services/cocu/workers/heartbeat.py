"""Heartbeats: a worker or sweeper that gets on notes it in a file; a check in the same container reads that.

A process that lives is not enough: consumers of Redis are known to stop taking messages after it was away.
So a worker's heart beats in the loop that takes messages, and looks at the queues: messages that nobody
takes while a process is free are trouble, as is a broker that does not answer. A worker that takes none
connects anew; where that does not help, its check says so.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEAT_SECONDS = 3.0
PATIENT_BEATS = 2
"""After how many beats without taking what is there a worker connects anew."""


class Heartbeat:
    """Notes in a file when it was last called, and since when something keeps the process from its work.

    Times are of the clock that nobody sets (`time.monotonic`), which all processes of a machine share.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._well = time.monotonic()

    def beat(self, trouble: str | None = None) -> None:
        """Notes that the process is alive; trouble: what keeps it from its work at this moment."""
        now = time.monotonic()
        if trouble is None:
            self._well = now
        beat = {"at": now, "well": self._well, "trouble": trouble}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(beat))
        temporary.replace(self._file)

    def end(self) -> None:
        """Removes the file."""
        with suppress(FileNotFoundError):
            self._file.unlink()


def trouble_in(file: Path, *, patience: float) -> str | None:
    """What is wrong with the process whose heartbeat this is; None if it has got on within `patience` s."""
    try:
        beat = json.loads(file.read_text())
    except (OSError, ValueError):
        return f"there is no heartbeat at {file}: nothing runs here, or it has not started"
    silent, troubled = (time.monotonic() - beat[key] for key in ("at", "well"))
    # A time in the future is of before the machine was started anew.
    if not -1 <= silent <= patience:
        return f"its heart last beat {silent:.0f} s ago; it hangs, or has lost the broker"
    if troubled > patience:
        return f"for {troubled:.0f} s it has got nowhere: {beat['trouble']}"
    return None


@dataclass
class Taking:
    """Judges at every beat whether a worker takes the messages that are there.

    queued: whether its queues hold messages; raises UnavailableError while the broker is away.
    """

    processes: int
    queued: Callable[[], bool]
    _taken: int = -1
    _missed: int = 0

    def trouble(self, *, taken: int, running: int, received: int) -> str | None:
        """What keeps the worker from its work, or None.

        taken: messages it has taken so far; running: chunks that run; received: messages it holds.
        """
        moved, self._taken = taken != self._taken, taken
        if received > running and not moved:
            return f"{received - running} messages were taken that no process begins with"
        if running < self.processes and not moved and self.queued():
            self._missed += 1
            return "its queues hold messages and a process is free, but it takes none"
        self._missed = 0
        return None

    def deaf(self) -> bool:
        """Whether it has not taken what is there for so long that it should connect anew; asked once."""
        deaf = self._missed >= PATIENT_BEATS
        if deaf:
            self._missed = 0
        return deaf


def consumer_step(beat: Callable[[Any], None]) -> type:
    """A step of Celery's consumer that calls `beat` with the consumer, in the loop that takes messages.

    A ConnectionError of `beat` makes the consumer connect anew.
    """
    from celery import bootsteps  # noqa: PLC0415

    class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            self._entry = consumer.timer.call_repeatedly(BEAT_SECONDS, beat, (consumer,))

        def stop(self, consumer: Any) -> None:
            self._entry.cancel()

    return HeartbeatStep
