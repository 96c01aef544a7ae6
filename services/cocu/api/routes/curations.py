"""Curations: start, follow, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from cocu.api import caching, estimating, starting, views
from cocu.api.dependencies import CurationId, DatasetId, PlatformOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, page, position
from cocu.api.problems import BadRequestError
from cocu.client import models
from cocu.platform import Platform
from cocu.storage.catalog import curations, datasets, events, progress

router = APIRouter(tags=["curations"], route_class=IdempotentRoute)

POLL_SECONDS = 0.3
RETRY_AFTER = "1"


@dataclass(frozen=True)
class Followed:
    """A curation whose events are followed, from the one after `last` on."""

    platform: Platform
    tenant: str
    curation: str
    last: int

    def after(self, last: int) -> tuple[list[models.CurationEvent], bool]:
        """The events after this one, and whether the curation had ended before they were read."""
        record = curations.get(self.platform.catalog, tenant=self.tenant, curation_id=self.curation)
        found = events.since(self.platform.catalog, tenant=self.tenant, curation_id=self.curation, after=last)
        return [views.event(each) for each in found], views.has_ended(record)


@router.post(
    "/v1/datasets/{dataset}/curations",
    status_code=202,
    response_model=models.Curation,
    responses={
        200: {
            "model": models.Curation | models.CurationEstimate,
            "description": "It was there already; or what a dry run foresees, which has no Location.",
        }
    },
)
def create_curation(
    *,
    dataset: DatasetId,
    body: models.CurationCreate,
    platform: PlatformOf,
    tenant: Tenant,
    response: Response,
    dry_run: Annotated[bool, Query(description="Start nothing; say what it would be and cost.")] = False,
) -> models.Curation | Response:
    """Start to curate a dataset as it is now.

    202: under way, follow Location. 200: this very curation (same samples, encoder, vocabulary and
    parameters) is completed already, or a dry run's CurationEstimate. 409: uploads are still being read,
    samples embedded again, or no sample was accepted.
    """
    choice = starting.choose(platform, tenant=tenant, dataset=dataset, request=body)
    if dry_run:
        estimate = estimating.estimate(platform, tenant=tenant, dataset=dataset, choice=choice)
        return JSONResponse(estimate.model_dump(mode="json"))
    started = starting.start(platform, tenant=tenant, dataset=dataset, choice=choice)
    made = _view(platform, tenant, started)
    response.headers["Location"] = f"/v1/curations/{made.id}"
    if made.finished:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = RETRY_AFTER
    return made


@router.get("/v1/curations")
def list_curations(
    *,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    dataset: Annotated[str | None, Query(max_length=64, description="Only those of this dataset.")] = None,
) -> models.Page[models.Curation]:
    """List curations, oldest first."""
    if dataset is not None:
        datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"curations {dataset}"
    found = curations.list_page(
        platform.catalog, tenant=tenant, limit=limit, after=position(listing, cursor), dataset_id=dataset
    )
    return page(listing, found, lambda record: _view(platform, tenant, record), models.Curation)


@router.get("/v1/curations/{curation}", response_model=models.Curation)
def get_curation(
    *, curation: CurationId, request: Request, response: Response, platform: PlatformOf, tenant: Tenant
) -> models.Curation | Response:
    """Look at one curation: its state, how far it is, and what it came to."""
    record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    seen = _view(platform, tenant, record)
    if not seen.finished:
        response.headers["Retry-After"] = RETRY_AFTER
        response.headers["Cache-Control"] = "no-cache"
        return seen
    # A failed or cancelled one may be started again, so this is to be checked, not kept.
    tag = caching.tag_of(seen.id, seen.state, seen.content_hash, seen.finished_at)
    if caching.not_modified(request, tag):
        return Response(status_code=304, headers={"ETag": caching.quoted(tag), "Cache-Control": "no-cache"})
    response.headers["ETag"] = caching.quoted(tag)
    response.headers["Cache-Control"] = "no-cache"
    return seen


@router.delete("/v1/curations/{curation}")
def cancel_curation(curation: CurationId, platform: PlatformOf, tenant: Tenant) -> models.Curation:
    """Stop a curation that is under way; one that has ended stays as it is."""
    return _view(platform, tenant, curations.cancel(platform.catalog, tenant=tenant, curation_id=curation))


def _followed(
    curation: CurationId,
    platform: PlatformOf,
    tenant: Tenant,
    last_event_id: Annotated[
        str | None,
        Header(description="Go on after this event.", json_schema_extra={"pattern": "^[0-9]{1,18}$"}),
    ] = None,
) -> Followed:
    """What a stream starts from; checked before the stream begins, while an error can still be a problem."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    return Followed(platform=platform, tenant=tenant, curation=curation, last=_event_number(last_event_id))


@router.get("/v1/curations/{curation}/events", response_class=EventSourceResponse)
async def stream_events(
    *, request: Request, followed: Annotated[Followed, Depends(_followed)]
) -> AsyncIterator[ServerSentEvent]:
    """Follow a curation by server-sent events until it ends; `data` is a CurationEvent."""
    last = followed.last
    while not request.app.state.stopping.is_set():
        found, ended = await run_in_threadpool(followed.after, last)
        for event in found:
            yield ServerSentEvent(id=str(event.id), event=event.kind, raw_data=event.model_dump_json())
            last = event.id
        if ended and not found:
            return
        if not found:
            await asyncio.sleep(POLL_SECONDS)


def _event_number(header: str | None) -> int:
    if header is None:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= 18):
        raise BadRequestError("Last-Event-ID must be the id of an event of this stream; without it all come")
    return int(header)


def _view(platform: Platform, tenant: str, record: curations.CurationRecord) -> models.Curation:
    return views.curation(
        record, progress.of_curation(platform.catalog, tenant=tenant, curation_id=record.id)
    )
