"""Events of everything that a tenant has: what an overview follows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from cocu.api.dependencies import Tenant
from cocu.api.event_feed import EventFeed
from cocu.api.event_ids import LastEvent
from cocu.api.stream_limits import EventStream

router = APIRouter(tags=["events"])


@router.get("/v1/events", response_class=EventSourceResponse)
async def stream_all_events(
    *, request: Request, tenant: Tenant, last: LastEvent, slot: EventStream
) -> AsyncIterator[ServerSentEvent]:
    """Follow all curations, uploads and projections by server-sent events; `data` is a PlatformEvent.

    The stream begins with an event `now` and has what happens from then on; with Last-Event-ID it has what
    happened since that event. It never ends by itself: a client that is disconnected goes on after its last
    event.
    """
    feed: EventFeed = request.app.state.event_feed
    async with aclosing(feed.follow(tenant=tenant, after=last)) as events:
        async for event in events:
            yield ServerSentEvent(id=str(event.id), event=event.kind, raw_data=event.model_dump_json())
