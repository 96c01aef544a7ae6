"""The lock of a data folder: one process at a time runs its tasks and upgrades its catalog."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cocu import machine
from cocu.errors import ConflictError


class FolderLock:
    """Held from `acquire` to `release`, or until the process ends; also a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Lock the folder.

        Raises ConflictError while another process has the lock, MachineError, UnavailableError.
        """
        with machine.translate_errors(f"lock the data folder {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._folder / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"another process works on {self._folder}; stop it, or choose another data folder"
            raise ConflictError(message) from error
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Release the lock; do nothing where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
