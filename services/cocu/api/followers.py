"""Followers of curations: one query to the catalog serves all clients that follow the same curation."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Final

from starlette.concurrency import run_in_threadpool

from cocu import schemas
from cocu.api import serializers
from cocu.catalog import curations, events
from cocu.errors import NotFoundError, UnavailableError
from cocu.platform import Platform

POLL_SECONDS: Final = 0.3
DELETED: Final = "deleted"
"""The kind of the last event of a curation that is deleted while a client follows it."""

log = logging.getLogger(__name__)


class Followers:
    """The curations that clients follow. Not thread-safe: use it only in the event loop."""

    def __init__(self, platform: Platform, stopping: threading.Event) -> None:
        self._platform = platform
        self._stopping = stopping
        self._feeds: dict[tuple[str, str], _Feed] = {}

    async def follow(
        self, *, tenant: str, curation: str, after: int
    ) -> AsyncGenerator[schemas.CurationEvent]:
        """Yield the events of a curation with an id above `after`, until it has ended or is deleted."""
        key = (tenant, curation)
        feed = self._feeds.get(key)
        # A curation that had ended may have been started again.
        if feed is None or feed.ended:
            feed = self._feeds[key] = _Feed(self._platform, self._stopping, tenant=tenant, curation=curation)
        feed.followers += 1
        try:
            async for event in feed.after(after):
                yield event
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                feed.stop()
                if self._feeds.get(key) is feed:
                    del self._feeds[key]


class _Feed:
    """The events of one curation read so far, and a task that polls for more."""

    def __init__(self, platform: Platform, stopping: threading.Event, *, tenant: str, curation: str) -> None:
        self.followers = 0
        self._platform = platform
        self._stopping = stopping
        self._tenant, self._curation = tenant, curation
        self._events: list[schemas.CurationEvent] = []
        self.ended = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._poll())

    def stop(self) -> None:
        """Stop polling, because nobody follows any more."""
        self._task.cancel()

    async def after(self, last: int) -> AsyncGenerator[schemas.CurationEvent]:
        """Yield all events with an id above `last`, also future ones, until the curation has ended."""
        position = 0
        while True:
            while position < len(self._events):
                event = self._events[position]
                position += 1
                if event.id > last:
                    yield event
            if self.ended:
                return
            await self._news.wait()

    async def _poll(self) -> None:
        try:
            while not self._stopping.is_set() and not self.ended:
                complete = await self._read()
                if not complete:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            self.ended = True
            self._notify()

    async def _read(self) -> bool:
        """Read new events; return whether there were any, and so may be more."""
        last = self._events[-1].id if self._events else 0
        try:
            new_events, ended = await run_in_threadpool(self._since, last)
        except NotFoundError:
            data = {"detail": "the curation was deleted"}
            new_events = [schemas.CurationEvent(id=last + 1, at=datetime.now(UTC), kind=DELETED, data=data)]
            ended = True
        except UnavailableError as error:
            log.warning(
                "events of curation %s are read when the catalog answers again: %s", self._curation, error
            )
            return False
        self._events += new_events
        # Events may be written just before the end: end only after a read that finds none.
        self.ended = ended and (not new_events or new_events[-1].kind == DELETED)
        self._notify()
        return bool(new_events)

    def _since(self, last: int) -> tuple[list[schemas.CurationEvent], bool]:
        """Return the events after this one, and whether the curation had ended before they were read."""
        catalog, tenant = self._platform.catalog, self._tenant
        record = curations.get(catalog, tenant=tenant, curation_id=self._curation)
        event_records = events.since(catalog, tenant=tenant, curation_id=self._curation, after=last)
        return [serializers.event(event) for event in event_records], serializers.has_ended(record)

    def _notify(self) -> None:
        # Waiting followers hold the old event, and wake; the next ones wait for the new event.
        self._news.set()
        self._news = asyncio.Event()
