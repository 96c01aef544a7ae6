"""Runs over HTTP: submit, list, follow, stop, resume, results, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from cocu.client.models import Page
from cocu_training.configuration import TrainingConfiguration
from cocu_training.service import cursors, results
from cocu_training.service.configurations import configuration_of
from cocu_training.service.dependencies import (
    Cursor,
    LastEvent,
    Limit,
    Once,
    RunId,
    Service,
    ServiceOf,
    Tenant,
)
from cocu_training.service.downloads import file_answer
from cocu_training.service.errors import MissingError
from cocu_training.service.models import Run, RunCreate, RunEvent, RunFile, RunResults
from cocu_training.service.problems import KINDS, MEDIA_TYPE
from cocu_training.service.removal import remove_deleted
from cocu_training.service.runs import EventRecord, RunRecord, State

POLL_SECONDS = 0.3
RETRY_AFTER = "5"
LATEST_EVALUATIONS = 1000
FILE: dict[str, Any] = {kind: {} for kind in results.MEDIA_TYPES}


def problem_answers(*statuses: int, key: type = int) -> dict[int | str, dict[str, Any]]:
    """These problems as the OpenAPI document has them, by status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {key(status): {"description": f"{KINDS[status][1]}.", "content": content} for status in statuses}


router = APIRouter(tags=["runs"], prefix="/v1/runs", responses=problem_answers(401))


@router.post("", status_code=201, responses=problem_answers(400, 409, 413, 415, 422, 429, 503))
def create_run(*, body: RunCreate, service: ServiceOf, tenant: Tenant, once: Once, response: Response) -> Run:
    """Queue a run on a completed curation of the platform; one run is trained at a time."""
    made = None if once is None else service.runs.made_by(tenant=tenant, request=once)
    if made is None:
        configuration = configuration_of(
            body.preset,
            body.configuration,
            arm=body.arm,
            files=service.settings.files,
            most_workers=service.settings.most_workers,
        )
        service.check_curation(body.curation, tenant=tenant)
        made = service.runs.create(
            tenant=tenant,
            curation=body.curation,
            configuration=configuration,
            name=body.name,
            most_queued=service.settings.most_queued,
            request=once,
        )
        service.runner.look()
    response.headers["Location"] = f"/v1/runs/{made.id}"
    return _view(service, made)


@router.get("", responses=problem_answers(422))
def list_runs(
    *,
    service: ServiceOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
) -> Page[Run]:
    """List runs, oldest first."""
    listing = f"runs {state or ''}"
    after = 0 if cursor is None else cursors.decode(listing, cursor)
    found, following = service.runs.listed(tenant=tenant, after=after, limit=limit, state=state)
    return Page[Run](
        items=[_view(service, record) for record in found],
        next=None if following is None else cursors.encode(listing, following),
    )


@router.get("/{run}", responses=problem_answers(404))
def get_run(run: RunId, service: ServiceOf, tenant: Tenant, response: Response) -> Run:
    """Look at one run: its state, and how far it is."""
    record = service.runs.get(run, tenant=tenant)
    if not record.ended:
        response.headers["Retry-After"] = RETRY_AFTER
    response.headers["Cache-Control"] = "no-cache"
    return _view(service, record)


@router.delete("/{run}", status_code=204, responses=problem_answers(404, 409))
def delete_run(run: RunId, service: ServiceOf, tenant: Tenant) -> None:
    """Delete a run with all its files; one that trains must be stopped before."""
    service.runs.delete(run, tenant=tenant)
    remove_deleted(service.runs, service.settings)


@router.post("/{run}/stop", status_code=202, responses=problem_answers(404, 409))
def stop_run(run: RunId, service: ServiceOf, tenant: Tenant) -> Run:
    """Stop a run: one that trains writes a checkpoint first, one that is queued leaves the queue."""
    record = service.runs.ask_to_stop(run, tenant=tenant)
    service.runner.look()
    return _view(service, record)


@router.post("/{run}/resume", status_code=202, responses=problem_answers(404, 409, 429))
def resume_run(run: RunId, service: ServiceOf, tenant: Tenant) -> Run:
    """Queue a run that stopped or failed again; it goes on from its last checkpoint."""
    record = service.runs.resume(run, tenant=tenant, most_queued=service.settings.most_queued)
    service.runner.look()
    return _view(service, record)


@dataclass(frozen=True)
class _Followed:
    """A run whose events are followed, from the one after `last` on."""

    service: Service
    run: str
    last: int

    def after(self, last: int) -> tuple[list[EventRecord], bool]:
        """The events after this one, and whether the run had ended before they were read."""
        try:
            ended = self.service.runs.get(self.run).ended
        except MissingError:
            # Deleted meanwhile; the stream has begun, so that it can only end.
            return [], True
        return self.service.runs.events(self.run, after=last), ended


def _followed(run: RunId, service: ServiceOf, tenant: Tenant, last: LastEvent) -> _Followed:
    """What a stream starts from; checked before it begins, while an error can still be a problem."""
    service.runs.get(run, tenant=tenant)
    return _Followed(service, run, last)


@router.get("/{run}/events", response_class=EventSourceResponse, responses=problem_answers(404, 422))
async def stream_run_events(
    *, followed: Annotated[_Followed, Depends(_followed)]
) -> AsyncIterator[ServerSentEvent]:
    """Follow a run by server-sent events until it ends; `data` is a RunEvent."""
    last = followed.last
    while not followed.service.stopping.is_set():
        found, ended = await run_in_threadpool(followed.after, last)
        for event in found:
            data = RunEvent(
                id=event.id,
                run=followed.run,
                at=_time(event.at),
                kind=event.kind,  # type: ignore[arg-type] # as they were written
                values=dict(event.data),
            )
            yield ServerSentEvent(id=str(event.id), event=event.kind, raw_data=data.model_dump_json())
            last = event.id
        if ended and not found:
            return
        if not found:
            await asyncio.sleep(POLL_SECONDS)


@router.get("/{run}/results", responses=problem_answers(404))
def get_run_results(run: RunId, service: ServiceOf, tenant: Tenant, response: Response) -> RunResults:
    """What a run has come to so far: figures, and the files that can be fetched."""
    record = service.runs.get(run, tenant=tenant)
    response.headers["Cache-Control"] = "no-cache"
    latest = service.runs.recorded(run, "step", last=1)
    return RunResults(
        run=run,
        state=record.state,
        latest=dict(latest[0].data) if latest else None,
        evaluations=[
            dict(event.data) for event in service.runs.recorded(run, "evaluation", last=LATEST_EVALUATIONS)
        ],
        files=results.files_of(run, service.folder(run)),
    )


@router.get("/{run}/files", responses=problem_answers(404))
def list_run_files(run: RunId, service: ServiceOf, tenant: Tenant) -> Page[RunFile]:
    """The files of a run, by name, in one page."""
    service.runs.get(run, tenant=tenant)
    return Page[RunFile](items=results.files_of(run, service.folder(run)))


@router.get(
    "/{run}/files/{name:path}",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": FILE},
        206: {"description": "A part of it.", "content": FILE},
        304: {"description": "The version that the caller holds."},
        **problem_answers(404, 416),
    },
)
def get_run_file(
    *,
    run: RunId,
    name: str,
    service: ServiceOf,
    tenant: Tenant,
    part: Annotated[str | None, Header(alias="Range", description="bytes=first-last")] = None,
    held: Annotated[
        str | None, Header(alias="If-None-Match", description="ETags of versions that the caller holds.")
    ] = None,
    part_of: Annotated[
        str | None, Header(alias="If-Range", description="ETag of the version that the part is of.")
    ] = None,
) -> Response:
    """Fetch a file, or a part of it; a checkpoint once written stays as it is."""
    service.runs.get(run, tenant=tenant)
    path = results.file_of(service.folder(run), name)
    return file_answer(path, part=part, held=held, part_of=part_of)


def _view(service: Service, record: RunRecord) -> Run:
    configuration = dict(record.configuration)
    return Run(
        id=record.id,
        state=record.state,
        curation=record.curation,
        name=record.name,
        arm=configuration["arm"],
        configuration=configuration,
        configuration_hash=TrainingConfiguration.from_mapping(configuration).hash,
        created_at=_time(record.created_at),
        started_at=None if record.started_at is None else _time(record.started_at),
        finished_at=None if record.finished_at is None else _time(record.finished_at),
        step=record.step,
        steps=record.steps,
        starts=record.starts,
        ahead=service.runs.ahead_of(record) if record.state == "queued" else None,
        detail=record.detail,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
