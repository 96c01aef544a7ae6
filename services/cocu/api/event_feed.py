"""The feed of all events: one query to the catalog serves everybody who follows everything."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

from starlette.concurrency import run_in_threadpool

from cocu import schemas
from cocu.api import serializers
from cocu.api.followers import POLL_SECONDS
from cocu.catalog import events
from cocu.catalog.events import TenantEventRecord
from cocu.errors import UnavailableError
from cocu.platform import Platform

NOW: Final = "now"
"""The kind of the first event of a stream that does not go on after another."""
KEPT: Final = 1_000
"""Events that are kept for those who follow; whoever is further behind reads them from the catalog."""

log = logging.getLogger(__name__)


class EventFeed:
    """The events of all tenants. Not thread-safe: use it only in the event loop.

    The catalog is polled while somebody follows. Memory: the last KEPT events, however many follow, and a
    page of events for each follower that is behind.
    """

    def __init__(self, platform: Platform, stopping: threading.Event) -> None:
        self._platform = platform
        self._stopping = stopping
        self._followers = 0
        self._task: asyncio.Task[None] | None = None
        self._kept: deque[TenantEventRecord] = deque(maxlen=KEPT)
        self._first_kept = 0
        self._last = 0
        self._news = asyncio.Event()
        self._beginning = asyncio.Lock()

    async def follow(self, *, tenant: str, after: int | None) -> AsyncGenerator[schemas.PlatformEvent]:
        """Yield the tenant's events with an id above `after`; None: an event `now`, and what happens then."""
        await self._begin()
        try:
            last = self._last if after is None else after
            if last > self._last:
                # The feed may be behind: it waits at a gap in the ids that a deleted dataset has left.
                last = min(last, await run_in_threadpool(events.newest, self._platform.catalog))
            if last != after:  # the id of another catalog is no place to go on at
                yield schemas.PlatformEvent(id=last, at=datetime.now(UTC), kind=NOW)
            while self._task is not None and not self._stopping.is_set():
                news = self._news
                up_to = self._last
                async for record in self._between(tenant, last, up_to):
                    yield serializers.platform_event(record)
                last = max(last, up_to)
                if self._last == up_to:
                    await news.wait()
        finally:
            self._end()

    async def _between(self, tenant: str, last: int, up_to: int) -> AsyncGenerator[TenantEventRecord]:
        catalog = self._platform.catalog
        while last < up_to:
            if last >= self._first_kept:
                records = [record for record in self._kept if last < record.id <= up_to]
                last = up_to
            else:
                records = await run_in_threadpool(
                    events.of_tenant, catalog, tenant=tenant, after=last, up_to=up_to
                )
                last = records[-1].id if records else up_to
            for record in records:
                if record.tenant == tenant:
                    yield record

    async def _begin(self) -> None:
        self._followers += 1
        if self._task is not None:
            return
        try:
            async with self._beginning:
                if self._task is None:
                    self._last = await run_in_threadpool(events.settled, self._platform.catalog)
                    self._first_kept = self._last
                    self._kept.clear()
                    while await self._read():
                        pass
                    self._task = asyncio.create_task(self._poll())
        except BaseException:
            self._followers -= 1
            raise

    def _end(self) -> None:
        self._followers -= 1
        if self._followers == 0 and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _poll(self) -> None:
        try:
            while not self._stopping.is_set():
                if not await self._read():
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            if self._task is asyncio.current_task():
                self._task = None  # it failed: followers end, and the next one begins again
            self._notify()

    async def _read(self) -> bool:
        """Read new events; return whether there were any, and so may be more."""
        try:
            records = await run_in_threadpool(events.of_all_tenants, self._platform.catalog, after=self._last)
        except UnavailableError as error:
            log.warning("events are read when the catalog answers again: %s", error)
            return False
        if not records:
            return False
        for record in records:
            if len(self._kept) == KEPT:
                self._first_kept = self._kept[0].id
            self._kept.append(record)
        self._last = records[-1].id
        self._notify()
        return True

    def _notify(self) -> None:
        # Waiting followers hold the old event, and wake; the next ones wait for the new event.
        self._news.set()
        self._news = asyncio.Event()
