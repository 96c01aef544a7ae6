"""Turns off Pillow's warnings about damaged files: what matters is reported as a reason code instead."""

from __future__ import annotations

import threading
import warnings


class _IgnoredWarnings:
    """Ignores warnings raised inside Pillow while at least one thread is within the block.

    The filters of `warnings` belong to the whole process. If every thread saved and restored them, a thread
    that leaves early would restore them for those still inside. So the first thread that enters saves the
    filters, and the last one that leaves restores them.
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


ignore_pillow_warnings = _IgnoredWarnings()
