"""The sweeper: what no worker holds and no message announces is put into the queue again.

It also ends what has outlived its time: resumable uploads, and answers kept by idempotency key.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import OperationalError

from cocu.errors import UnavailableError
from cocu.platform import Platform
from cocu.storage.catalog import chunks, idempotency, resumables

logger = logging.getLogger(__name__)


class Sweeper:
    """A thread that looks every `sweep_seconds` for chunks to enqueue; any number of them may run."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Starts looking, at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stops, after the look that is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._sweep()
            if self._stopping.wait(self._platform.settings.sweep_seconds):
                return

    def _sweep(self) -> None:
        try:
            self._platform.enqueue(chunks.sweep(self._platform.catalog))
            for token in resumables.expire(self._platform.catalog):
                self._platform.growing.discard(token)
            idempotency.forget_expired(self._platform.catalog)
        except (OperationalError, UnavailableError, OSError) as error:
            # The database or the broker is away; the next look may find it back.
            logger.warning("could not sweep: %s", error)
