"""The lease of a task: taken before the task runs, renewed while it runs, and ended with its outcome."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from cocu import machine
from cocu.catalog.tasks import TaskRecord, TaskRef
from cocu.errors import (
    CocuError,
    IntegrityError,
    InvalidInputError,
    NoRoomError,
    RefusedError,
    UnavailableError,
)
from cocu.pipeline import planner, stages
from cocu.pipeline.metrics import DONE, FAILED, HANDED_BACK, metrics
from cocu.pipeline.stages import StageSpec
from cocu.platform import Platform
from cocu.settings import Settings

logger = logging.getLogger(__name__)

NON_RETRYABLE = (IntegrityError, InvalidInputError)
"""Errors that every further attempt would raise again."""

ROOM_SECONDS = 15.0
LONGEST_ROOM_SECONDS = 300.0
"""A task that found its disk full is tried again after as many seconds as it had run, within these bounds."""

PROGRESS_SECONDS = 1.0
"""The progress of a task is stored at most once in this time."""


class TaskStoppedError(Exception):
    """This worker must leave the task: it was cancelled, its lease was lost, or the worker stops."""


def process_name() -> str:
    """Return the prefix of the owners of all leases of this process, which no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:"


def new_owner() -> str:
    """Return a name that is unique to one attempt: two attempts of one process must not share a lease."""
    return process_name() + secrets.token_hex(8)


@dataclass
class Lease:
    """A task that this worker has leased; leaving the block stores how it ended.

    Without an error the task is done. TaskStoppedError and the end of the process hand it back. Any other
    error counts as a failure, after which the task is tried again or given up.
    """

    platform: Platform
    task: TaskRecord
    owner: str
    stopping: threading.Event
    units_done: int = 0
    _lost: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed_at: float = 0.0
    _started_at: float = 0.0

    def advance(self, units: int = 0) -> None:
        """Add finished units to the progress; raise TaskStoppedError if the task must be left.

        Every stage calls this between two pieces of its work. A stage that does not call it runs on after
        the task was cancelled or the worker was told to stop.
        """
        metrics().processed(self.task.stage, units)
        self.units_done = min(self.units_done + units, self.task.units_total)
        if self.stopping.is_set():
            raise TaskStoppedError("the worker is to stop")
        if time.monotonic() - self._renewed_at >= PROGRESS_SECONDS:
            self._renew()
        if self._lost.is_set():
            raise TaskStoppedError("the task was cancelled, or its lease was lost")

    def __enter__(self) -> Self:
        # A stage may compute for minutes between two calls of `advance`, so a thread renews the lease too.
        self._renewed_at = self._started_at = time.monotonic()
        self._renewer = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)
        try:
            self._renewer.start()
        except RuntimeError as error:  # no thread can be started
            self._give_up(error)
            raise TaskStoppedError(str(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # The thread ends first: it must not renew a lease that was just handed back.
        self._ended.set()
        self._renewer.join()
        if error is None:
            task_refs = self._record(
                lambda: planner.finish(self.platform.catalog, task_id=self.task.id, owner=self.owner)
            )
            self._count(DONE)
            self.platform.disk_space.report_free()
            self.platform.enqueue(task_refs)
            return True
        if isinstance(error, TaskStoppedError) or not isinstance(error, Exception):
            self._hand_back()
            if self.stopping.is_set():
                # Sent at once, so that other workers need not wait for the sweeper to send it.
                self.platform.enqueue([(self.task.id, self.task.stage)])
            return isinstance(error, TaskStoppedError)
        self._give_up(error)
        return True

    def _hand_back(self) -> None:
        try:
            planner.hand_back(self.platform.catalog, task_id=self.task.id, owner=self.owner)
        except NoRoomError as full:  # the lease runs out, or the next start of the platform releases it
            self.platform.disk_space.report_full(full)
        self._count(HANDED_BACK)

    def _postpone(self, error: NoRoomError) -> None:
        """Postpone the task until there may be room; the attempt does not count, so this never gives up."""
        self._count(HANDED_BACK)
        self.platform.disk_space.report_full(error)
        elapsed = time.monotonic() - self._started_at
        self._record(
            lambda: planner.postpone(
                self.platform.catalog,
                task_id=self.task.id,
                owner=self.owner,
                seconds=min(max(ROOM_SECONDS, elapsed), LONGEST_ROOM_SECONDS),
                error=str(error),
            )
        )

    def _record(self, write: Callable[[], list[TaskRef]]) -> list[TaskRef]:
        """Write to the catalog; retry while its disk is full and the worker runs. Return what to enqueue."""
        while True:
            try:
                return write()
            except NoRoomError as full:
                self.platform.disk_space.report_full(full)
                if self.stopping.wait(ROOM_SECONDS):
                    return []

    def _give_up(self, error: Exception) -> None:
        error = machine.find_machine_error(error, f"run {self.task.stage}") or error
        spec = stages.spec_of(self.task.stage)
        # A run does not wait for disk space that only a stage beside it needs.
        if isinstance(error, NoRoomError) and (spec.beside is None or not stages.is_awaited(spec)):
            self._postpone(error)
            return
        self._count(FAILED)
        if isinstance(error, NoRoomError):
            self.platform.disk_space.report_full(error)
        else:
            self._log(error)
        settings = self.platform.settings
        task_refs = self._record(
            lambda: planner.give_up(
                self.platform.catalog,
                task_id=self.task.id,
                owner=self.owner,
                error=str(error) or type(error).__name__,
                retry=not isinstance(error, NON_RETRYABLE),
                max_failures=_max_failures(settings, spec, error),
                retry_seconds=settings.retry_seconds,
            )
        )
        self.platform.enqueue(task_refs)

    def _log(self, error: Exception) -> None:
        task = f"{self.task.stage} of {self.task.target}"
        if isinstance(error, CocuError):
            # Raised on purpose: the message says what is wrong, and a traceback would add nothing.
            logger.error(
                "%s failed: %s: %s", task, type(error).__name__, " ".join(machine.describe(error).split())
            )
        else:
            logger.error("%s failed: %s", task, error, exc_info=(type(error), error, error.__traceback__))

    def _count(self, outcome: str) -> None:
        metrics().ended(self.task.stage, outcome, seconds=time.monotonic() - self._started_at)

    def _renew(self) -> None:
        self._renewed_at = time.monotonic()
        held = planner.renew(
            self.platform.catalog,
            task_id=self.task.id,
            owner=self.owner,
            seconds=self.platform.settings.lease_seconds,
            units_done=self.units_done,
        )
        if not held:
            self._lost.set()

    def _keep_renewing(self) -> None:
        """Renew the lease in a thread, also during a long computation."""
        while not self._ended.wait(self.platform.settings.lease_seconds / 3):
            try:
                self._renew()
            except NoRoomError as full:
                self.platform.disk_space.report_full(full)
            except UnavailableError as error:
                # Not lost yet: the catalog says whether it is when it answers again.
                logger.warning("the lease of %s could not be renewed: %s", self.task.id, error)
            if self._lost.is_set():
                return


def _max_failures(settings: Settings, spec: StageSpec, error: Exception) -> int | None:
    outage = isinstance(error, UnavailableError)
    # No curation waits for this task, so it is retried for as long as the vector store is down.
    if spec.beside is not None and (
        outage or (not stages.is_awaited(spec) and isinstance(error, RefusedError))
    ):
        return None
    return settings.max_outages if outage else settings.max_failures


def take(platform: Platform, task_id: str, *, stopping: threading.Event) -> Lease | None:
    """Lease a task; return None if it is done, leased by another worker, or not needed any more."""
    owner = new_owner()
    taken = planner.take(
        platform.catalog,
        task_id=task_id,
        owner=owner,
        lease_seconds=platform.settings.lease_seconds,
        max_lost_leases=platform.settings.max_lost_leases,
    )
    platform.enqueue(taken.task_refs)
    return None if taken.task is None else Lease(platform, taken.task, owner, stopping)
