"""Background work: what a request needs but cannot wait for is started, and the request gets a 503.

The results are files that every process reads. If a process ends, nothing is lost: the next request starts
the work again. If two processes do the same work, they write the same file.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from queue import SimpleQueue

from cocu.errors import UnavailableError

logger = logging.getLogger(__name__)

WORKERS = 2
"""Threads that do background work."""
MAX_PENDING = 100
"""Work that waits or runs, or has ended and was not asked for again since."""

Work = Callable[[Callable[[int], None]], None]
"""The work itself; it calls its argument with the number of units done since the last call."""


@dataclass
class _Pending:
    work: Work
    title: str
    total: int
    done: int = 0
    outcome: Future[None] = field(default_factory=Future)

    def __str__(self) -> str:
        progress = f", {self.done:,} of {self.total:,} so far" if self.done else ""
        return f"{self.title} are being computed{progress}; try again later"


class Background:
    """Runs background work in a few threads; the same work runs once at a time.

    stopping: set when the server stops. Work ends at its next report of progress then.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._pending: dict[Hashable, _Pending] = {}
        self._queue: SimpleQueue[_Pending] = SimpleQueue()
        self._workers = 0

    def start(self, key: Hashable, work: Work) -> None:
        """Start work unless the same work is pending, without waiting for it. Log its error.

        key: what identifies the work.
        """
        pending = self._enqueue(key, work, "results", 0)

        def end(outcome: Future[None]) -> None:
            self._forget(key, pending)
            if (error := outcome.exception()) is not None:
                logger.warning("%s failed in the background: %s", key, error)

        pending.outcome.add_done_callback(end)

    def require(self, key: Hashable, work: Work, *, title: str, total: int, seconds: float) -> None:
        """Start work unless the same work is pending, and wait for it for a while.

        title: what it computes, in the plural. total: its units. Raises UnavailableError if it takes longer,
        and any error of the work. The first call after the end tells how it ended, the next starts it again.
        """
        pending = self._enqueue(key, work, title, total)
        wait([pending.outcome], timeout=seconds)
        if not pending.outcome.done():
            raise UnavailableError(str(pending))
        self._forget(key, pending)
        pending.outcome.result()

    def _enqueue(self, key: Hashable, work: Work, title: str, total: int) -> _Pending:
        with self._lock:
            if key in self._pending:
                return self._pending[key]
            if len(self._pending) >= MAX_PENDING:
                self._pending = {
                    key: pending for key, pending in self._pending.items() if not pending.outcome.done()
                }
            if len(self._pending) >= MAX_PENDING:
                raise UnavailableError(
                    f"{MAX_PENDING} other results are being computed already; try again later"
                )
            pending = self._pending[key] = _Pending(work, title, total)
            self._queue.put(pending)
            if self._workers < min(WORKERS, len(self._pending)):
                self._workers += 1
                # A daemon thread: work of an hour must not keep the process from ending.
                threading.Thread(target=self._run, name="background", daemon=True).start()
            return pending

    def _run(self) -> None:
        while not self._stopping.is_set():
            pending = self._queue.get()
            try:
                pending.work(lambda done, pending=pending: self._advance(pending, done))  # type: ignore[misc]
            except BaseException as error:  # noqa: BLE001 - raised again by `require`
                pending.outcome.set_exception(error)
            else:
                pending.outcome.set_result(None)

    def _advance(self, pending: _Pending, done: int) -> None:
        pending.done += done
        if self._stopping.is_set():
            raise UnavailableError("the server is being stopped; try again later")

    def _forget(self, key: Hashable, pending: _Pending) -> None:
        with self._lock:
            if self._pending.get(key) is pending:
                del self._pending[key]
