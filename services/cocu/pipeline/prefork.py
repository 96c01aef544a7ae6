"""`cocu worker`: a parent that takes messages from Redis, and children that each run one task at a time.

The parent never opens a platform, because its children would inherit its connections by fork and use them at
the same time. Each child opens its own platform for its first task.

A pipe that nobody writes to tells the children to stop. The parent closes its end, and every child then reads
the end of the file; this also happens when the parent is killed. The child makes its task hand itself back.
If the task does not react in time, the child hands it back itself and ends. (A shared event would not do: a
child that is killed while it holds the lock of the event would block all others.)
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

from cocu.catalog import tasks
from cocu.errors import CocuError, UnavailableError
from cocu.pipeline import planner
from cocu.pipeline.heartbeat import ConsumerWatch, Heartbeat, consumer_step
from cocu.pipeline.lease import process_name
from cocu.pipeline.queue import TaskQueue
from cocu.pipeline.stages import spec_of
from cocu.pipeline.worker import create_application, queue_name
from cocu.platform import Platform
from cocu.settings import Settings

logger = logging.getLogger(__name__)

LEAVING_SECONDS = 2.0
"""How long a child may take to hand its task back and to end, after `worker_grace_seconds`."""


class PreforkWorkers:
    """The processes of one `cocu worker`; `run` returns after they were told to stop.

    stages: the stages whose tasks they take. processes: the number of children. close_inherited: called in
    each child, to close what only the parent must hold open.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        stages: Sequence[str],
        processes: int,
        close_inherited: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._stages = frozenset(stages)
        # Imported before the fork, so that the children share this memory.
        for stage in stages:
            spec_of(stage).load()
        # Nobody writes to this pipe. The parent's end closes when the parent stops or is killed. Then every
        # child that reads from the pipe wakes up.
        self._stop_reader, self._stop_writer = os.pipe()
        self._child = _Child(
            settings,
            stop_reader=self._stop_reader,
            stop_writer=self._stop_writer,
            close_inherited=close_inherited,
        )
        self._application = create_application(settings, self._child.platform, stopping=self._child.stopping)
        self._child.application = self._application
        self._queue = TaskQueue(self._application)
        self._heartbeat = Heartbeat(settings.heartbeat("worker"))
        self._watch = ConsumerWatch(processes, self._queued)
        self._processes = processes

    def run(self) -> int:
        """Run tasks until SIGTERM or SIGINT; return the exit code, 0 when it ended in order."""
        signals.setup_logging.connect(_leave_logging_alone, weak=False)
        signals.worker_process_init.connect(self._child.begin, weak=False)
        signals.worker_process_shutdown.connect(self._child.end, weak=False)
        signals.task_prerun.connect(self._child.begin_task, weak=False)
        signals.task_postrun.connect(self._child.end_task, weak=False)
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
        if self._stop_writer >= 0:
            os.close(self._stop_writer)
            self._stop_writer = -1

    def _await_children(self) -> None:
        """Wait for the children, because Celery does not wait for a child that has just received a task."""
        end = time.monotonic() + self._settings.worker_grace_seconds + LEAVING_SECONDS
        while active_children() and time.monotonic() < end:
            time.sleep(0.05)

    def _beat(self, consumer: Any) -> None:
        try:
            problem = self._watch.error(
                taken=state.all_total_count[0],
                running=len(state.active_requests),
                received=len(state.reserved_requests),
            )
        except UnavailableError as error:
            problem = str(error)
        self._heartbeat.beat(problem)
        if self._watch.stalled():
            # If the acknowledgement of a message is lost, Celery believes for ever that this worker holds it.
            # With `worker_prefetch_multiplier=1` it then takes no other. A new connection resets this.
            logger.warning("%s; connecting anew", problem)
            raise ConnectionResetError(problem)

    def _queued(self) -> bool:
        return bool(self._stages & self._queue.queued())


class _Child:
    """The state of one child process, which runs tasks. Made in the parent and copied by the fork."""

    application: Celery

    def __init__(
        self, settings: Settings, *, stop_reader: int, stop_writer: int, close_inherited: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._close_inherited = close_inherited
        self._stop_reader, self._stop_writer = stop_reader, stop_writer
        self._platform: Platform | None = None
        self.stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    def begin(self, **_: Any) -> None:
        """Start to wait for the end of the parent; Celery calls this in the new process."""
        # Inherited from the parent. While any child holds this end open, no reader sees the end of the file.
        os.close(self._stop_writer)
        self._close_inherited()
        threading.Thread(target=self._await_stop, name="stopping", daemon=True).start()

    def begin_task(self, **_: Any) -> None:
        """Make SIGTERM hand the next task back; Celery calls this before it runs a task.

        Celery sends SIGTERM to end a child, sometimes while a task is just starting. Celery's own handler
        raises SystemExit. The exception could come after the commit that leases the task but before this
        process knows its lease. Then nobody would hand the task back, and it would wait until the lease ends.
        """
        self._idle.clear()
        # Not in `begin`, because Celery sets its own handler after that.
        signal.signal(signal.SIGTERM, self._leave)

    def end_task(self, **_: Any) -> None:
        """Note that no task runs; Celery calls this after it has run a task."""
        self._idle.set()

    def platform(self) -> Platform:
        """Return the platform of this child, opened at the first call, after the fork.

        Raises UnavailableError.
        """
        if self._platform is None:
            platform = Platform.open(self._settings)
            platform.send_with(TaskQueue(self.application))
            self._platform = platform
        return self._platform

    def end(self, **_: Any) -> None:
        """Close the platform; Celery calls this at the end of the process."""
        if self._platform is not None:
            self._platform.close()

    def _await_stop(self) -> None:
        os.read(self._stop_reader, 1)
        self.stopping.set()
        time.sleep(self._settings.worker_grace_seconds)
        self._end_now()

    def _leave(self, *_: Any) -> None:
        self.stopping.set()
        threading.Thread(target=self._leave_when_idle, name="leaving", daemon=True).start()

    def _leave_when_idle(self) -> None:
        # `stopping` is set, so a task whose message arrives now is not started.
        self._idle.wait(self._settings.worker_grace_seconds)
        self._end_now()

    def _end_now(self) -> None:
        if self._platform is not None:
            _hand_back(self._platform)
        # Not sys.exit: the main thread may be deep in a computation that no exception reaches.
        os._exit(0)


def _hand_back(platform: Platform) -> None:
    """Hand back the tasks that this process has leased, so that others need not wait until the leases end."""
    try:
        for task_id, stage, owner in tasks.held(platform.catalog, process=process_name()):
            logger.warning("%s of task %s did not stop in time; it is handed back", stage, task_id)
            planner.hand_back(platform.catalog, task_id=task_id, owner=owner)
            platform.enqueue([(task_id, stage)])
    except CocuError as error:
        logger.warning("a task could not be handed back; its lease will end: %s", error)


def _leave_logging_alone(**_: Any) -> None:
    """Do nothing: Celery sets up logging of its own if no receiver is connected to this signal."""
