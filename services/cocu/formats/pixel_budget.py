"""How many pixels of images a process decodes at once, whoever asks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cocu.errors import UnavailableError

WAIT_SECONDS = 20.0
"""How long an image waits for others to be decoded."""


class PixelBudget:
    """Room for `limit` pixels; an image of more than that has the room for itself. Safe for many threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._changed = threading.Condition()

    @contextmanager
    def held(self, pixels: int) -> Iterator[None]:
        """Hold room for this many pixels. Raises UnavailableError when there is none for WAIT_SECONDS."""
        taken = min(pixels, self.limit)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= taken, WAIT_SECONDS):
                raise UnavailableError("other images are being decoded; try again later")
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()
