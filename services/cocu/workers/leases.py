"""Running one chunk: lease it, keep the lease while it runs, and tell the catalog how it ended."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from cocu.errors import CocuError, IntegrityError, InvalidInputError, UnavailableError
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.catalog import chunks, planning
from cocu.storage.catalog.chunks import ChunkRecord
from cocu.storage.catalog.states import Stage
from cocu.workers.measures import DONE, FAILED, HANDED_BACK, measures

logger = logging.getLogger(__name__)

HOPELESS = (IntegrityError, InvalidInputError)
"""Errors that trying again cannot mend."""

NOTE_SECONDS = 1.0
"""How often progress inside a chunk is written down at most."""


class ChunkStoppedError(Exception):
    """The chunk is no longer this worker's to finish: cancelled, its lease lost, or the worker is to stop."""


def process_name() -> str:
    """What the owners of all leases of this process begin with, and those of no other."""
    return f"{socket.gethostname()}:{os.getpid()}:"


def new_owner() -> str:
    """A name for one attempt, unlike any other: two attempts of one process must not share a lease."""
    return process_name() + secrets.token_hex(8)


@dataclass
class Lease:
    """A chunk while this worker has it; leaving the block says how it ended.

    Without an error it is done. ChunkStoppedError and the end of the process hand it back; any other error
    counts as a failure, after which it is tried again or given up.
    """

    platform: Platform
    chunk: ChunkRecord
    owner: str
    stopping: threading.Event
    units_done: int = 0
    _gone: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _noted: float = 0.0
    _begun: float = 0.0

    def advance(self, units: int = 0) -> None:
        """Notes progress, and raises ChunkStoppedError when the chunk is to be left."""
        measures().processed(self.chunk.stage, units)
        self.units_done = min(self.units_done + units, self.chunk.units_total)
        if self.stopping.is_set():
            raise ChunkStoppedError("the worker is to stop")
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self._renew()
        if self._gone.is_set():
            raise ChunkStoppedError("the chunk was cancelled, or its lease was lost")

    def __enter__(self) -> Self:
        self._noted = self._begun = time.monotonic()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._ended.set()
        self._keeper.join()
        if error is None:
            planned = planning.finish(self.platform.catalog, chunk_id=self.chunk.id, owner=self.owner)
            self._count(DONE)
            self.platform.enqueue(planned)
            return True
        if isinstance(error, ChunkStoppedError) or not isinstance(error, Exception):
            planning.hand_back(self.platform.catalog, chunk_id=self.chunk.id, owner=self.owner)
            self._count(HANDED_BACK)
            if self.stopping.is_set():
                # Others need not wait for the sweeper to find it.
                self.platform.enqueue([(self.chunk.id, self.chunk.stage)])
            return isinstance(error, ChunkStoppedError)
        self._give_up(error)
        return True

    def _give_up(self, error: Exception) -> None:
        self._count(FAILED)
        self._log(error)
        settings = self.platform.settings
        outage = isinstance(error, UnavailableError)
        planned = planning.give_up(
            self.platform.catalog,
            chunk_id=self.chunk.id,
            owner=self.owner,
            error=str(error) or type(error).__name__,
            retry=not isinstance(error, HOPELESS),
            max_failures=_most_failures(settings, self.chunk, outage=outage),
            retry_seconds=settings.retry_seconds,
        )
        self.platform.enqueue(planned)

    def _log(self, error: Exception) -> None:
        where = f"{self.chunk.stage} of {self.chunk.subject}"
        if isinstance(error, CocuError):
            # Raised on purpose: its text says what is wrong, where it was raised would say no more.
            logger.error("%s failed: %s: %s", where, type(error).__name__, " ".join(str(error).split()))
        else:
            logger.error("%s failed: %s", where, error, exc_info=(type(error), error, error.__traceback__))

    def _count(self, outcome: str) -> None:
        measures().ended(self.chunk.stage, outcome, seconds=time.monotonic() - self._begun)

    def _renew(self) -> None:
        self._noted = time.monotonic()
        held = chunks.renew(
            self.platform.catalog,
            chunk_id=self.chunk.id,
            owner=self.owner,
            seconds=self.platform.settings.lease_seconds,
            units_done=self.units_done,
        )
        if not held:
            self._gone.set()

    def _keep(self) -> None:
        """Renews the lease also while a stage is deep in a long computation."""
        while not self._ended.wait(self.platform.settings.lease_seconds / 3):
            try:
                self._renew()
            except UnavailableError as error:
                # Whether the lease is still ours is known when the catalog is back.
                logger.warning("the lease of %s could not be renewed: %s", self.chunk.id, error)
            if self._gone.is_set():
                return


def _most_failures(settings: Settings, chunk: ChunkRecord, *, outage: bool) -> int | None:
    if outage and chunk.stage == Stage.INDEX:
        # No curation waits for it: it may wait for the vector store for as long as that takes.
        return None
    return settings.max_outages if outage else settings.max_failures


def take(platform: Platform, chunk_id: str, *, stopping: threading.Event) -> Lease | None:
    """The lease of a chunk, or None when there is nothing (left) to do for it."""
    owner = new_owner()
    taken = planning.take(
        platform.catalog,
        chunk_id=chunk_id,
        owner=owner,
        lease_seconds=platform.settings.lease_seconds,
        max_lost_leases=platform.settings.max_lost_leases,
    )
    platform.enqueue(taken.planned)
    return None if taken.chunk is None else Lease(platform, taken.chunk, owner, stopping)
