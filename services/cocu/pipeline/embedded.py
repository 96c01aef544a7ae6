"""Workers inside this process, on the memory:// broker: the whole platform without a server."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.worker import WorkController

from cocu.catalog import tasks, uploads
from cocu.pipeline.queue import TaskQueue
from cocu.pipeline.sweeper import Sweeper
from cocu.pipeline.worker import create_application
from cocu.platform import Platform
from cocu.storage.folder_lock import FolderLock

logger = logging.getLogger(__name__)

STARTUP_SECONDS = 30.0


class _Threads(TaskPool):  # type: ignore[misc]
    """Celery's pool of threads, each of which has the right application set as its current one.

    Celery looks up tasks in the current application, which is a thread-local variable. Without this, two
    platforms in one process would run each other's tasks, or none.
    """

    def __init__(self, *arguments: object, app: Celery, **options: object) -> None:
        super().__init__(*arguments, app=app, **options)
        self.executor = ThreadPoolExecutor(
            max_workers=self.limit, thread_name_prefix="tasks", initializer=app.set_current
        )


class _Worker(WorkController):  # type: ignore[misc]  # Celery has no types
    """A Celery worker that sets an event when it takes messages."""

    def __init__(self, **options: object) -> None:
        self.listening = threading.Event()
        super().__init__(**options)

    def on_consumer_ready(self, consumer: object) -> None:
        self.listening.set()


class EmbeddedWorkers:
    """Runs a platform's tasks in threads of this process while the context lasts.

        with Platform.open(settings) as platform, EmbeddedWorkers(platform):
            ...

    Only one process at a time may do this for a data folder. So at its start it may release every lease: they
    are of processes that died. Leaving the context hands back the running tasks; nothing is lost.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stopping = threading.Event()
        self._application = create_application(platform.settings, lambda: platform, stopping=self._stopping)
        self._queue = TaskQueue(self._application)
        self._sweeper = Sweeper(platform, self._queue)

    def start(self) -> None:
        """Lock the data folder and start to work. Raises ConflictError when another process has it."""
        # A platform that was opened for this process alone has locked the folder already.
        self._lock = FolderLock(self._platform.settings.data_folder) if self._platform.lock is None else None
        if self._lock is not None:
            self._lock.acquire()
        tasks.release_all(self._platform.catalog)
        # No other process receives uploads for this folder, and this one does not yet. So no upload that is
        # still RECEIVING will ever arrive.
        uploads.fail_abandoned(self._platform.catalog, claimed=True)
        self._worker = _Worker(
            app=self._application,
            pool=_Threads,
            concurrency=self._platform.settings.worker_threads,
            hostname=f"embedded@{os.getpid()}",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        self._thread = threading.Thread(target=self._worker.start, name="worker", daemon=True)
        self._thread.start()
        if not self._worker.listening.wait(STARTUP_SECONDS):
            raise RuntimeError("the embedded worker did not start; its log says why")
        self._platform.send_with(self._queue)
        self._sweeper.start()

    @property
    def alive(self) -> bool:
        """Return whether tasks are still taken from the queues."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Make running tasks hand themselves back, and end the threads."""
        self._stopping.set()
        self._sweeper.stop()
        self._worker.stop()
        self._thread.join()
        self._application.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
