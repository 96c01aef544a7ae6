"""`cocu worker`: processes that run chunks, one each, on the messages of Redis.

The parent takes messages and never opens a platform: what its children inherit by fork would be connections
and threads of somebody else. Each child opens its own, when its first chunk comes.

Stopping is a pipe that nobody writes to. The parent closes its end, and every child reads the end of the
file, also when the parent was killed: it makes its chunk hand itself back, and takes it away from a
computation that does not listen. (A shared event would stay locked for all by a child killed at the wrong
moment.)
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from billiard import active_children  # type: ignore[import-untyped]
from celery import Celery, signals
from celery.worker import state

from cocu.errors import CocuError, UnavailableError
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.catalog import chunks, planning
from cocu.storage.catalog.states import Stage
from cocu.workers.application import create_application, queue_name
from cocu.workers.heartbeat import Heartbeat, Taking, consumer_step
from cocu.workers.leases import process_name
from cocu.workers.sending import Sender

logger = logging.getLogger(__name__)

LEAVING_SECONDS = 2.0
"""What a process may need to hand its chunk back, and end, once its grace is over."""


class PreforkWorkers:
    """The processes of one `cocu worker`; `run` returns when they were told to stop.

    stages: those whose chunks they take. processes: how many run chunks. close_inherited: called in each of
    these, to close what only the parent is to hold open.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        stages: Sequence[Stage],
        processes: int,
        close_inherited: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._stages = frozenset(stages)
        self._told, self._tell = os.pipe()
        self._child = _Child(settings, told=self._told, tell=self._tell, close_inherited=close_inherited)
        self._application = create_application(settings, self._child.platform, stopping=self._child.stopping)
        self._child.application = self._application
        self._sender = Sender(self._application)
        self._heartbeat = Heartbeat(settings.heartbeat("worker"))
        self._taking = Taking(processes, self._queued)
        self._processes = processes

    def run(self) -> int:
        """Runs chunks until SIGTERM or SIGINT; the exit code: 0 when it ended in order."""
        signals.setup_logging.connect(_leave_logging_alone, weak=False)
        signals.worker_process_init.connect(self._child.begin, weak=False)
        signals.worker_process_shutdown.connect(self._child.end, weak=False)
        signals.task_prerun.connect(self._child.begin_chunk, weak=False)
        signals.task_postrun.connect(self._child.end_chunk, weak=False)
        signals.worker_shutting_down.connect(self._stop_children, weak=False)
        self._application.steps["consumer"].add(consumer_step(self._beat))
        self._heartbeat.beat()
        worker = self._application.Worker(
            pool="prefork",
            concurrency=self._processes,
            queues=[queue_name(self._application, stage) for stage in sorted(self._stages)],
            hostname=f"worker-{os.getpid()}@{socket.gethostname()}",
            quiet=True,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        worker.start()
        self._await_children()
        self._heartbeat.end()
        return int(worker.exitcode or 0)

    def _stop_children(self, **_: Any) -> None:
        if self._tell >= 0:
            os.close(self._tell)
            self._tell = -1

    def _await_children(self) -> None:
        """A chunk that had only just been given to a process may still be handing itself back."""
        end = time.monotonic() + self._settings.worker_grace_seconds + LEAVING_SECONDS
        while active_children() and time.monotonic() < end:
            time.sleep(0.05)

    def _beat(self, consumer: Any) -> None:
        try:
            trouble = self._taking.trouble(
                taken=state.all_total_count[0],
                running=len(state.active_requests),
                received=len(state.reserved_requests),
            )
        except UnavailableError as error:
            trouble = str(error)
        self._heartbeat.beat(trouble)
        if self._taking.deaf():
            # An acknowledgement that the broker did not get counts as a message still held, for ever.
            logger.warning("%s; connecting anew", trouble)
            raise ConnectionResetError(trouble)

    def _queued(self) -> bool:
        return bool(self._stages & self._sender.queued())


class _Child:
    """What a process that runs chunks has of its own."""

    application: Celery

    def __init__(
        self, settings: Settings, *, told: int, tell: int, close_inherited: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._close_inherited = close_inherited
        self._told, self._tell = told, tell
        self._platform: Platform | None = None
        self.stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    def begin(self, **_: Any) -> None:
        """In the new process: it listens for the end."""
        os.close(self._tell)
        self._close_inherited()
        threading.Thread(target=self._await_the_end, name="stopping", daemon=True).start()

    def begin_chunk(self, **_: Any) -> None:
        """Before it runs a chunk: from now on SIGTERM makes that hand itself back.

        Celery ends processes so, at times while a chunk is just beginning; SystemExit, which its own handler
        raises, could come when the catalog has leased the chunk and nobody here knows of it yet.
        """
        self._idle.clear()
        # Not when the process begins: Celery sets its own handler after that.
        signal.signal(signal.SIGTERM, self._leave)

    def end_chunk(self, **_: Any) -> None:
        """After it has run a chunk."""
        self._idle.set()

    def platform(self) -> Platform:
        """Its platform, opened when it is first wanted. Raises UnavailableError."""
        if self._platform is None:
            platform = Platform.open(self._settings)
            platform.send_with(Sender(self.application))
            self._platform = platform
        return self._platform

    def end(self, **_: Any) -> None:
        """At the end of the process."""
        if self._platform is not None:
            self._platform.close()

    def _await_the_end(self) -> None:
        os.read(self._told, 1)
        self.stopping.set()
        time.sleep(self._settings.worker_grace_seconds)
        self._end_now()

    def _leave(self, *_: Any) -> None:
        self.stopping.set()
        threading.Thread(target=self._leave_when_idle, name="leaving", daemon=True).start()

    def _leave_when_idle(self) -> None:
        # A chunk whose message is read from now on is not begun.
        self._idle.wait(self._settings.worker_grace_seconds)
        self._end_now()

    def _end_now(self) -> None:
        if self._platform is not None:
            _hand_back(self._platform)
        os._exit(0)


def _hand_back(platform: Platform) -> None:
    """Takes this process's chunk away from it, so that others need not wait for its lease to end."""
    try:
        for chunk_id, stage, owner in chunks.held(platform.catalog, process=process_name()):
            logger.warning("%s of chunk %s did not stop in time; it is handed back", stage, chunk_id)
            planning.hand_back(platform.catalog, chunk_id=chunk_id, owner=owner)
            platform.enqueue([(chunk_id, stage)])
    except CocuError as error:
        logger.warning("a chunk could not be handed back; its lease will end: %s", error)


def _leave_logging_alone(**_: Any) -> None:
    """Celery sets up logging where nobody listens to this signal."""
