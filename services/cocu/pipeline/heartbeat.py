"""Heartbeats: a worker or sweeper writes to a file that it makes progress; its container's check reads it.

A process can be alive and not work: consumers of Redis are known to stop taking messages after a lost
connection. So the heartbeat is written in the loop that takes messages, and that loop looks at the queues. It
is an error if messages wait while a process is free, or if the broker does not answer. A worker that takes no
messages connects again; if that does not help, its check fails.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

BEAT_SECONDS = 3.0
MAX_MISSED_BEATS = 2
"""A worker that takes no message while some wait connects again after this number of heartbeats."""


class Heartbeat:
    """Writes to a file when `beat` was last called, and when it was last called without an error.

    Times are of `time.monotonic`, which nobody can set and all processes of a machine share.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last_ok = time.monotonic()
        self._failed = False

    def beat(self, error: str | None = None) -> None:
        """Write that the process is alive; error: what keeps it from its work now."""
        now = time.monotonic()
        if error is None:
            self._last_ok = now
        state = {"at": now, "last_ok": self._last_ok, "error": error}
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(state))
            temporary.replace(self._file)
        except OSError as failure:
            # The disk may be full. The worker then waits for room, and must not be killed for that.
            if not self._failed:
                logger.error("the heartbeat %s cannot be written: %s", self._file, failure.strerror)
            self._failed = True
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return
        self._failed = False

    def end(self) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            self._file.unlink()


def error_in(file: Path, *, timeout: float) -> str | None:
    """Return what is wrong with the process of a heartbeat; None if it worked within `timeout` seconds."""
    try:
        state = json.loads(file.read_text())
    except (OSError, ValueError):
        return f"there is no heartbeat at {file}: nothing runs here, or it has not started"
    silent, failing = (time.monotonic() - state[key] for key in ("at", "last_ok"))
    # A time in the future was written before the machine was restarted, which sets the clock to 0.
    if not -1 <= silent <= timeout:
        return f"its last heartbeat is {silent:.0f} s old; it hangs, or has lost the broker"
    if failing > timeout:
        return f"for {failing:.0f} s it has made no progress: {state['error']}"
    return None


@dataclass
class ConsumerWatch:
    """Checks at every heartbeat whether a worker takes the messages that wait in its queues.

    queued: returns whether its queues hold messages; raises UnavailableError while the broker is down.
    """

    processes: int
    queued: Callable[[], bool]
    _taken: int = -1
    _missed: int = 0

    def error(self, *, taken: int, running: int, received: int) -> str | None:
        """Return what keeps the worker from its work, or None.

        taken: the number of messages it has taken since its start; running: tasks that run now; received:
        messages that it holds now.
        """
        took_message, self._taken = taken != self._taken, taken
        if received > running and not took_message:
            return f"{received - running} messages were taken that no process begins with"
        if running < self.processes and not took_message and self.queued():
            self._missed += 1
            return "its queues hold messages and a process is free, but it takes none"
        self._missed = 0
        return None

    def stalled(self) -> bool:
        """Return whether the worker should connect again because it takes no messages; True only once."""
        stalled = self._missed >= MAX_MISSED_BEATS
        if stalled:
            self._missed = 0
        return stalled


def consumer_step(beat: Callable[[Any], None]) -> type:
    """Return a step of Celery's consumer that calls `beat` in the loop that takes messages.

    If `beat` raises ConnectionError, the consumer connects again.
    """
    from celery import bootsteps  # noqa: PLC0415

    class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            self._entry = consumer.timer.call_repeatedly(BEAT_SECONDS, beat, (consumer,))

        def stop(self, consumer: Any) -> None:
            self._entry.cancel()

    return HeartbeatStep
