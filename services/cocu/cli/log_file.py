"""A log file that survives a full disk."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path


class LogFile(logging.FileHandler):
    """Appends lines to a file; lines that cannot be written are counted.

    The first lost line is reported on standard error. The next line that can be written is followed by the
    number of lost lines.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace", delay=True)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line."""
        lost = self._lost
        super().emit(record)
        if lost and self._lost == lost:
            self._lost = 0
            super().emit(self._lost_record(lost))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging.Handler
        """Count a line that could not be written; report the first."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._lost += 1
        stream, self.stream = self.stream, None  # the next line opens it again
        if stream is not None:
            with suppress(OSError):
                stream.close()
        if self._lost == 1:
            reason = error.strerror or str(error)
            with suppress(OSError, ValueError, AttributeError):
                print(
                    f"the log {self.baseFilename} cannot be written: {reason}; lines are lost",
                    file=sys.stderr,
                )

    def _lost_record(self, lost: int) -> logging.LogRecord:
        text = f"{lost} lines before this one could not be written"
        return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
