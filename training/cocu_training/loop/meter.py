"""The speed of training, and how long it waits for samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Meter:
    """Measures speed and waiting time since the last record, on a clock that stops while nothing is trained.

    The values of a step are read late: one step later, or at a checkpoint right after the step has begun. So
    each step counts with the time at which it was handed to the device, not the time at which it was read.
    """

    def __init__(self, global_batch: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._batch = global_batch
        self._clock = clock
        self._left_out = 0.0
        self._steps, self._waited = 0, 0.0
        self._since = self._last = self.now()

    def now(self) -> float:
        """Return the seconds on the meter's own clock."""
        return self._clock() - self._left_out

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Leave the time that the context lasts out of the speed of training."""
        began = self._clock()
        yield
        self._left_out += self._clock() - began

    def add(self, waited: float, *, started: float) -> None:
        """Count a step that waited so many seconds for samples and went to the device at `started`."""
        self._steps += 1
        self._waited += waited
        self._last = started

    def read(self) -> dict[str, float]:
        """Return seconds waited per batch and images per second, and restart the count."""
        rates = {
            "wait_seconds": self._waited / max(self._steps, 1),
            "images_per_second": self._steps * self._batch / max(self._last - self._since, 1e-9),
        }
        self._steps, self._waited, self._since = 0, 0.0, self._last
        return rates
