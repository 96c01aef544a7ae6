"""Silence for Pillow's warnings about strange files: what matters of them becomes a reason code."""

from __future__ import annotations

import threading
import warnings


class _Quiet:
    """Ignores warnings raised inside Pillow while at least one thread is within the block.

    `warnings.catch_warnings` alone restores the wrong filters when threads leave in another order than they
    came; here the first thread in enters it and the last one out leaves it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved is not None:
                self._saved.__exit__(None, None, None)
                self._saved = None


quiet_pillow = _Quiet()
