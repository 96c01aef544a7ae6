"""Workers inside this process, on the memory:// broker: the whole platform without a server."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from celery import Celery
from celery.concurrency.thread import TaskPool
from celery.worker import WorkController

from cocu.errors import ConflictError
from cocu.platform import Platform
from cocu.storage.catalog import chunks
from cocu.workers.application import create_application
from cocu.workers.sending import Sender
from cocu.workers.sweeper import Sweeper

logger = logging.getLogger(__name__)

STARTUP_SECONDS = 30.0


class _Threads(TaskPool):  # type: ignore[misc]
    """Celery's pool of threads, each of which knows the application it works for.

    Celery looks up tasks in the current application, of which every thread has its own idea: without this,
    two platforms in one process would run each other's chunks, or none.
    """

    def __init__(self, *arguments: object, app: Celery, **options: object) -> None:
        super().__init__(*arguments, app=app, **options)
        self.executor = ThreadPoolExecutor(
            max_workers=self.limit, thread_name_prefix="chunks", initializer=app.set_current
        )


class _Worker(WorkController):  # type: ignore[misc]  # Celery has no types
    """A Celery worker that tells when it listens."""

    def __init__(self, **options: object) -> None:
        self.listening = threading.Event()
        super().__init__(**options)

    def on_consumer_ready(self, consumer: object) -> None:
        self.listening.set()


class EmbeddedWorkers:
    """Runs a platform's chunks in threads of this process while the context lasts.

        with Platform.open(settings) as platform, EmbeddedWorkers(platform):
            ...

    Only one process at a time may do this for a data folder, which is why it may take back, when it starts,
    every chunk that a former process died with. Leaving the context hands back what is running; nothing is
    lost.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stopping = threading.Event()
        self._application = create_application(platform.settings, lambda: platform, stopping=self._stopping)
        self._sender = Sender(self._application)
        self._sweeper = Sweeper(platform, self._sender)

    def start(self) -> None:
        """Takes over the data folder and begins to work. Raises ConflictError when another process has it."""
        self._lock = self._take_over()
        chunks.release_all(self._platform.catalog)
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
        self._platform.send_with(self._sender)
        self._sweeper.start()

    @property
    def alive(self) -> bool:
        """Whether chunks are still taken from the queues."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Lets running chunks hand themselves back, and ends the threads."""
        self._stopping.set()
        self._sweeper.stop()
        self._worker.stop()
        self._thread.join()
        self._application.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_over(self) -> int:
        folder = self._platform.settings.data_folder
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            message = f"another process works on {folder}; stop it, or choose another data folder"
            raise ConflictError(message) from error
        return lock
