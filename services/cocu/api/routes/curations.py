"""Curations: start, follow, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from cocu import schemas
from cocu.api import conditional, curation_requests, serializers
from cocu.api.dependencies import CurationId, DatasetId, PlatformOf, PreviewsOf, Tenant
from cocu.api.event_ids import LastEvent
from cocu.api.followers import Followers
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.stream_limits import EventStream
from cocu.catalog import curations, datasets
from cocu.pipeline import failed_tasks, progress, speed
from cocu.pipeline.estimate import estimate
from cocu.platform import Platform
from cocu.schemas.base import Word

router = APIRouter(tags=["curations"], route_class=IdempotentRoute)

RETRY_AFTER = "1"


@router.post(
    "/v1/datasets/{dataset}/curations",
    status_code=202,
    response_model=schemas.Curation,
    responses={
        200: {
            "model": schemas.Curation | schemas.CurationEstimate | schemas.CurationPreview,
            "description": "It existed already; or a dry run's estimate, or a preview, without Location.",
        }
    },
)
def create_curation(
    *,
    dataset: DatasetId,
    body: schemas.CurationCreate,
    platform: PlatformOf,
    tenant: Tenant,
    response: Response,
    dry_run: Annotated[
        bool, Query(description="Start nothing; return an estimate of the work and its cost.")
    ] = False,
    preview: Annotated[
        int | None,
        Query(ge=1, le=20, description="Start nothing; return the archives that so many samples would have."),
    ] = None,
    previews: PreviewsOf,
) -> schemas.Curation | Response:
    """Start to curate a dataset as it is now.

    202: it runs, follow Location. 200: the same curation (same samples, encoder, vocabulary and parameters)
    is completed already, or this is the CurationEstimate of a dry run, or a CurationPreview. 409: uploads are
    still being read, samples are being embedded again, or no sample was accepted; for a preview, no curation
    of these samples with this encoder and vocabulary is completed, or there are more than a million.
    """
    choice = curation_requests.choose(platform, tenant=tenant, dataset=dataset, request=body)
    if preview is not None:
        previewed = previews.of(tenant=tenant, dataset=dataset, choice=choice, count=preview)
        return JSONResponse(previewed.model_dump(mode="json", by_alias=True))
    if dry_run:
        estimated = estimate(platform, tenant=tenant, dataset=dataset, choice=choice)
        return JSONResponse(estimated.model_dump(mode="json"))
    record = curation_requests.start(platform, tenant=tenant, dataset=dataset, choice=choice)
    curation = _view(platform, tenant, record)
    response.headers["Location"] = f"/v1/curations/{curation.id}"
    if curation.finished:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = RETRY_AFTER
    return curation


@router.get("/v1/curations")
def list_curations(
    *,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    dataset: Annotated[Word | None, Query(max_length=64, description="Only those of this dataset.")] = None,
    state: Annotated[
        list[schemas.CurationState] | None, Query(description="Only those in one of these states.")
    ] = None,
    order: Annotated[
        schemas.CurationOrder, Query(description="-created_at: newest first; by default oldest first.")
    ] = "created_at",
) -> schemas.Page[schemas.Curation]:
    """List curations by the time at which they were created."""
    if dataset is not None:
        datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    states = sorted(set(state or ()))
    listing = " ".join((f"curations {dataset}", *states, *(() if order == "created_at" else (order,))))
    records = curations.list_page(
        platform.catalog,
        tenant=tenant,
        limit=limit,
        after=read_cursor(listing, cursor),
        dataset_id=dataset,
        states=states,
        newest_first=order == "-created_at",
    )
    return make_page(listing, records, lambda record: _view(platform, tenant, record), schemas.Curation)


@router.get("/v1/curations/{curation}", response_model=schemas.Curation)
def get_curation(
    *, curation: CurationId, request: Request, response: Response, platform: PlatformOf, tenant: Tenant
) -> schemas.Curation | Response:
    """Return one curation: its state, its progress and its results."""
    record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    view = _view(platform, tenant, record)
    if not view.finished:
        response.headers["Retry-After"] = RETRY_AFTER
        response.headers["Cache-Control"] = "no-cache"
        return view
    # A failed or cancelled curation may be started again, a threshold set: clients must check each time.
    tag = conditional.make_tag(view.id, view.state, view.content_hash, view.finished_at, view.threshold)
    if conditional.not_modified(request, tag):
        return Response(
            status_code=304, headers={"ETag": conditional.quote(tag), "Cache-Control": "no-cache"}
        )
    response.headers["ETag"] = conditional.quote(tag)
    response.headers["Cache-Control"] = "no-cache"
    return view


@router.delete("/v1/curations/{curation}")
def cancel_curation(curation: CurationId, platform: PlatformOf, tenant: Tenant) -> schemas.Curation:
    """Cancel a curation that runs; one that has ended stays as it is."""
    return _view(platform, tenant, curations.cancel(platform.catalog, tenant=tenant, curation_id=curation))


@router.put("/v1/curations/{curation}/threshold")
def set_threshold(
    *, curation: CurationId, body: schemas.ThresholdSet, platform: PlatformOf, tenant: Tenant
) -> schemas.Curation:
    """Set the score from which a concept counts as added; null for none. Archives stay whole.

    The summary of judgements says which score has which precision.
    """
    record = curations.set_threshold(
        platform.catalog, tenant=tenant, curation_id=curation, threshold=body.score
    )
    return _view(platform, tenant, record)


@router.get("/v1/curations/{curation}/failures")
def list_failures(
    *,
    curation: CurationId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.TaskFailure]:
    """List the tasks of a curation that failed, by stage and shard: given up, or to be tried again.

    A task that succeeds later is not listed any more. Samples that could not be processed are in the report
    of the dataset.
    """
    record = curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    listing = f"failures {record.id}"
    records = failed_tasks.list_page(
        platform.catalog, curation_id=record.id, limit=limit, after=read_cursor(listing, cursor)
    )
    return make_page(listing, records, serializers.failure, schemas.TaskFailure)


def _followed(curation: CurationId, platform: PlatformOf, tenant: Tenant) -> str:
    """Return the curation to follow; checked before the stream begins, while 404 is still possible."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    return curation


@router.get("/v1/curations/{curation}/events", response_class=EventSourceResponse)
async def stream_events(
    *,
    request: Request,
    tenant: Tenant,
    last: LastEvent,
    slot: EventStream,
    followed: Annotated[str, Depends(_followed)],
) -> AsyncIterator[ServerSentEvent]:
    """Follow a curation by server-sent events until it ends; `data` is a CurationEvent.

    If it is deleted meanwhile, the last event is `deleted`.
    """
    followers: Followers = request.app.state.followers
    async with aclosing(followers.follow(tenant=tenant, curation=followed, after=last or 0)) as events:
        async for event in events:
            yield ServerSentEvent(id=str(event.id), event=event.kind, raw_data=event.model_dump_json())


def _view(platform: Platform, tenant: str, record: curations.CurationRecord) -> schemas.Curation:
    stages = progress.of_curation(platform.catalog, tenant=tenant, curation_id=record.id)
    ended = serializers.has_ended(record)
    return serializers.curation(
        record, stages, None if ended else speed.of_curation(platform.catalog, record, stages)
    )
