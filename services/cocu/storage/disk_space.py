"""Whether the disks of a platform are full. Every part that finds out reports it here; it is logged once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cocu import machine
from cocu.errors import NoRoomError

logger = logging.getLogger(__name__)

QUIET_SECONDS = 600.0
"""A full disk is logged again only if it was last reported longer ago than this."""


class DiskSpace:
    """Remembers whether a disk is full; logs each change once, however often it is reported."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._full = False
        self._listener: Callable[[NoRoomError], None] | None = None

    def listen(self, listener: Callable[[NoRoomError], None] | None) -> None:
        """Call `listener` at every report of a full disk, on the thread that reports it; None: no longer."""
        self._listener = listener

    def report_full(self, error: NoRoomError) -> None:
        """Report that a write failed because a disk is full."""
        with self._lock:
            now = time.monotonic()
            new = not self._full or now - self._last > QUIET_SECONDS
            self._full, self._last = True, now
            listener = self._listener
        # Outside the lock: the listener may report again.
        if new:
            logger.error("%s; what needs room waits, and goes on by itself", machine.describe(error))
        if listener is not None:
            listener(error)

    def report_free(self) -> None:
        """Report that a write succeeded."""
        with self._lock:
            was_full, self._full = self._full, False
        if was_full:
            logger.info("there is room on the disk again")
