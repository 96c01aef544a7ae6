"""The sweeper: what no worker holds and no message announces is put into the queue again.

It also ends what has outlived its time: resumable uploads, answers kept by idempotency key, and once a day
the files that nothing names.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from cocu.errors import UnavailableError
from cocu.platform import Platform
from cocu.storage.catalog import chunks, idempotency, resumables
from cocu.workers import orphans
from cocu.workers.measures import measures
from cocu.workers.sending import Sender

logger = logging.getLogger(__name__)

ORPHANS_AFTER = 600.0
"""Seconds after which a sweeper first looks for files that nothing names: not where it is but a short run."""
ORPHANS_EVERY = 24 * 3600.0


class Sweeper:
    """Looks every `sweep_seconds` for chunks to enqueue; any number of them may run, in any process.

    on_look: called after every look with what kept it from succeeding, or None.
    """

    def __init__(
        self,
        platform: Platform,
        sender: Sender,
        *,
        on_look: Callable[[Exception | None], None] = lambda trouble: None,
    ) -> None:
        self._platform = platform
        self._sender = sender
        self._on_look = on_look
        self._orphans_due = time.monotonic() + ORPHANS_AFTER
        self._datasets: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Starts looking in a thread, at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stops, after the look that is under way."""
        self.request_stop()
        self._thread.join()

    def request_stop(self) -> None:
        """Makes `run` return after the look that is under way."""
        self._stopping.set()

    def run(self) -> None:
        """Looks until it is stopped."""
        while True:
            trouble = self._sweep()
            measures().swept(trouble=trouble is not None)
            self._on_look(trouble)
            if self._stopping.wait(self._platform.settings.sweep_seconds):
                return

    def _tidy(self) -> None:
        """Deletes orphans, of one dataset a look, so that no look takes long."""
        if time.monotonic() >= self._orphans_due:
            self._orphans_due = time.monotonic() + ORPHANS_EVERY
            self._datasets = orphans.looked_after(self._platform.catalog)
        if self._datasets:
            deleted = orphans.delete_orphans(self._platform, dataset_id=self._datasets.pop())
            if deleted:
                logger.info("deleted %d files that nothing names, such as %s", len(deleted), deleted[0])

    def _sweep(self) -> Exception | None:
        catalog = self._platform.catalog
        try:
            # The broker first: what is swept while it is away would be marked as sent.
            queued = self._sender.queued()
            resend_seconds = self._platform.settings.resend_seconds
            found = chunks.sweep(catalog, queued=queued, resend_seconds=resend_seconds)
            self._sender.deliver(found)
            for _, stage in found:
                measures().sent_again(stage)
            for token in resumables.expire(catalog):
                self._platform.growing.discard(token)
            idempotency.forget_expired(catalog)
            catalog.tidy()
            self._tidy()
        except (DBAPIError, UnavailableError, OSError) as error:
            # The database or the broker is away; the next look may find it back.
            logger.warning("could not sweep: %s", error)
            return error
        return None
