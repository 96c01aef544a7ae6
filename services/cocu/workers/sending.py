"""Putting chunks into the queues, without ever waiting long for the broker.

The catalog knows every chunk before it is sent. So sending may fail: a sweeper sends what did not arrive.
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

from cocu.errors import UnavailableError
from cocu.platform import Planned, Platform
from cocu.storage.catalog.states import Stage
from cocu.workers.application import create_application, queue_name

logger = logging.getLogger(__name__)

AWAY = (OperationalError, RedisError, OSError)
"""What a broker raises that is gone, silent or full."""

PAUSE_SECONDS = 5.0
"""For how long a broker that did not answer is not asked again: what waits for it, waits once."""


class Sender:
    """Sends chunks to the queues of an application; to be called from any thread."""

    def __init__(self, application: Celery) -> None:
        self._application = application
        self._away_until = 0.0
        self._lock = threading.Lock()

    def __call__(self, planned: Iterable[Planned]) -> None:
        """Sends them, at once or not at all: what cannot be sent now is left to the sweeper."""
        remaining = list(planned)
        if not remaining or self._away:
            return
        try:
            with self._asked():
                while remaining:
                    self._send(*remaining[0])
                    remaining.pop(0)
        except UnavailableError as error:
            logger.warning("%d chunks are left to the sweeper: %s", len(remaining), error)

    def deliver(self, planned: Iterable[Planned]) -> None:
        """The same for the sweeper itself. Raises UnavailableError."""
        with self._asked():
            for chunk_id, stage in planned:
                self._send(chunk_id, stage)

    def queued(self) -> frozenset[str]:
        """The stages whose queues hold messages. Raises UnavailableError."""
        with self._asked(), self._application.connection_for_write() as connection:
            channel = connection.default_channel
            return frozenset(stage for stage in Stage if self._length(channel, stage))

    def check(self) -> None:
        """Raises UnavailableError when the broker does not answer, or did not a moment ago."""
        if self._away:
            raise UnavailableError("the broker does not answer; work that is asked for begins later")
        self.queued()

    @property
    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _send(self, chunk_id: str, stage: str) -> None:
        queue = queue_name(self._application, stage)
        self._application.send_task(f"cocu.{stage}", args=[chunk_id], queue=queue, retry=False)

    def _length(self, channel: object, stage: str) -> int:
        try:
            declared = channel.queue_declare(  # type: ignore[attr-defined]
                queue=queue_name(self._application, stage), passive=True
            )
        except ChannelError:  # An empty queue of Redis does not exist.
            return 0
        return int(declared.message_count)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except AWAY as error:
            with self._lock:
                self._away_until = time.monotonic() + PAUSE_SECONDS
            raise UnavailableError(f"the broker does not answer: {error}") from error
        self._away_until = 0.0


@contextmanager
def sending(platform: Platform) -> Iterator[Sender]:
    """Connects a platform that has no workers of its own to the broker of its settings, for the block."""
    application = create_application(platform.settings, lambda: platform, stopping=threading.Event())
    sender = Sender(application)
    platform.send_with(sender, check=sender.check)
    try:
        yield sender
    finally:
        application.close()
