"""The queues of tasks, one for each stage; sending never waits long for the broker.

Every task is in the catalog before it is sent. So sending may fail: a sweeper sends the task again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import RedisError

from cocu.catalog.tasks import TaskRef
from cocu.errors import UnavailableError
from cocu.pipeline import stages
from cocu.pipeline.worker import create_application, queue_name
from cocu.platform import Platform

logger = logging.getLogger(__name__)

BROKER_ERRORS = (OperationalError, RedisError, OSError)
"""What the client raises when the broker is down, does not answer or is full."""

PAUSE_SECONDS = 5.0
"""After a failure the broker is not asked for this time, so that not every request waits for it."""


class TaskQueue:
    """Sends tasks to the queues of an application; safe to call from any thread."""

    def __init__(self, application: Celery) -> None:
        self._application = application
        self._down_until = 0.0
        self._lock = threading.Lock()

    def __call__(self, task_refs: Iterable[TaskRef]) -> None:
        """Send the tasks now; the sweeper sends later what cannot be sent. Does not raise."""
        remaining = list(task_refs)
        if not remaining or self._is_down:
            return
        try:
            with self._broker_errors():
                while remaining:
                    self._send(*remaining[0])
                    remaining.pop(0)
        except UnavailableError as error:
            logger.warning("%d tasks are left to the sweeper: %s", len(remaining), error)

    def publish(self, task_refs: Iterable[TaskRef]) -> None:
        """Send the tasks; for the sweeper, which tries again later. Raises UnavailableError."""
        with self._broker_errors():
            for task_id, stage in task_refs:
                self._send(task_id, stage)

    def queued(self) -> frozenset[str]:
        """Return the stages whose queues hold messages. Raises UnavailableError."""
        with self._broker_errors(), self._application.connection_for_write() as connection:
            channel = connection.default_channel
            return frozenset(stage for stage in stages.STAGES if self._length(channel, stage))

    def check(self) -> None:
        """Raise UnavailableError if the broker does not answer, or did not within the last PAUSE_SECONDS."""
        if self._is_down:
            raise UnavailableError("the broker does not answer; work that is asked for begins later")
        self.queued()

    @property
    def _is_down(self) -> bool:
        return time.monotonic() < self._down_until

    def _send(self, task_id: str, stage: str) -> None:
        queue = queue_name(self._application, stage)
        self._application.send_task(f"cocu.{stage}", args=[task_id], queue=queue, retry=False)

    def _length(self, channel: object, stage: str) -> int:
        try:
            declared = channel.queue_declare(  # type: ignore[attr-defined]
                queue=queue_name(self._application, stage), passive=True
            )
        except ChannelError:  # in Redis an empty queue does not exist
            return 0
        return int(declared.message_count)

    @contextmanager
    def _broker_errors(self) -> Iterator[None]:
        try:
            yield
        except BROKER_ERRORS as error:
            with self._lock:
                self._down_until = time.monotonic() + PAUSE_SECONDS
            raise UnavailableError(f"the broker does not answer: {error}") from error
        self._down_until = 0.0


@contextmanager
def connected_queue(platform: Platform) -> Iterator[TaskQueue]:
    """Connect a platform without workers of its own to its broker while the context lasts."""
    application = create_application(platform.settings, lambda: platform, stopping=threading.Event())
    queue = TaskQueue(application)
    platform.send_with(queue, check=queue.check)
    try:
        yield queue
    finally:
        application.close()
