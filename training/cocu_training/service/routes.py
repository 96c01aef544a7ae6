"""Runs over HTTP: submit, list, follow, stop, resume, results, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from cocu.schemas import Page
from cocu.schemas.training import (
    ID,
    Run,
    RunEvent,
    RunFile,
    RunOrder,
    RunResults,
    RunSeries,
    RunState,
    Series,
)
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
from cocu_training.service.errors import MissingError
from cocu_training.service.figures import Latest, Point
from cocu_training.service.files import file_answer
from cocu_training.service.models import RunCreate
from cocu_training.service.problems import KINDS, MEDIA_TYPE
from cocu_training.service.removal import remove_deleted
from cocu_training.service.runs import EventRecord, RunRecord

POLL_SECONDS = 0.3
RETRY_AFTER = "5"
POINTS, MAX_POINTS = 500, 5000
FILE: dict[str, Any] = {kind: {} for kind in results.MEDIA_TYPES}


def problem_answers(*statuses: int, key: type = int) -> dict[int | str, dict[str, Any]]:
    """The responses of the OpenAPI document for these problems, by status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {key(status): {"description": f"{KINDS[status][1]}.", "content": content} for status in statuses}


router = APIRouter(tags=["runs"], prefix="/v1/runs", responses=problem_answers(401))


@router.post("", status_code=201, responses=problem_answers(400, 409, 413, 415, 422, 429, 503))
def create_run(*, body: RunCreate, service: ServiceOf, tenant: Tenant, once: Once, response: Response) -> Run:
    """Queue a run on a completed curation of the platform; one run is trained at a time."""
    record = None if once is None else service.runs.find_by_request(tenant=tenant, request=once)
    if record is None:
        configuration = configuration_of(
            body.preset,
            body.configuration,
            arm=body.arm,
            files=service.settings.files,
            max_workers=service.settings.max_workers,
        )
        service.check_curation(body.curation, tenant=tenant)
        record = service.runs.create(
            tenant=tenant,
            curation=body.curation,
            configuration=configuration,
            name=body.name,
            max_queued=service.settings.max_queued,
            request=once,
        )
        service.runner.wake()
    response.headers["Location"] = f"/v1/runs/{record.id}"
    return _view(service, record)


@router.get("", responses=problem_answers(422))
def list_runs(
    *,
    service: ServiceOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    state: Annotated[RunState | None, Query(description="Only those in this state.")] = None,
    curation: Annotated[str | None, Query(pattern=ID, description="Only those on this curation.")] = None,
    order: Annotated[RunOrder, Query(description="`-created_at`: the newest first.")] = "created_at",
) -> Page[Run]:
    """List runs, oldest first."""
    listing = " ".join(("runs", state or "", curation or "", order))
    records, following = service.runs.list_page(
        tenant=tenant,
        after=None if cursor is None else cursors.decode(listing, cursor),
        limit=limit,
        state=state,
        curation=curation,
        descending=order == "-created_at",
    )
    latest = service.runs.figures.latest([record.id for record in records])
    return Page[Run](
        items=[_view(service, record, latest.get(record.id, Latest())) for record in records],
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
    record = service.runs.request_stop(run, tenant=tenant)
    service.runner.wake()
    return _view(service, record)


@router.post("/{run}/resume", status_code=202, responses=problem_answers(404, 409, 429))
def resume_run(run: RunId, service: ServiceOf, tenant: Tenant) -> Run:
    """Queue a run that stopped or failed again; it goes on from its last checkpoint."""
    record = service.runs.resume(run, tenant=tenant, max_queued=service.settings.max_queued)
    service.runner.wake()
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
            # Deleted meanwhile. The stream has begun, so it cannot answer 404 any more.
            return [], True
        return self.service.runs.events(self.run, after=last), ended


def _followed(run: RunId, service: ServiceOf, tenant: Tenant, last: LastEvent) -> _Followed:
    """Check the run before the stream begins: only then can an error be a problem document."""
    service.runs.get(run, tenant=tenant)
    return _Followed(service, run, last)


@router.get("/{run}/events", response_class=EventSourceResponse, responses=problem_answers(404, 422))
async def stream_run_events(
    *, followed: Annotated[_Followed, Depends(_followed)]
) -> AsyncIterator[ServerSentEvent]:
    """Follow a run by server-sent events until it ends; `data` is a RunEvent."""
    last = followed.last
    while not followed.service.stopping.is_set():
        events, ended = await run_in_threadpool(followed.after, last)
        for event in events:
            data = RunEvent(
                id=event.id,
                run=followed.run,
                at=_time(event.at),
                kind=event.kind,  # type: ignore[arg-type] # only these kinds are written
                values=dict(event.data),
            )
            yield ServerSentEvent(id=str(event.id), event=event.kind, raw_data=data.model_dump_json())
            last = event.id
        if ended and not events:
            return
        if not events:
            await asyncio.sleep(POLL_SECONDS)


@router.get("/{run}/results", responses=problem_answers(404))
def get_run_results(run: RunId, service: ServiceOf, tenant: Tenant, response: Response) -> RunResults:
    """The results of a run so far: figures, and the files that can be fetched."""
    record = service.runs.get(run, tenant=tenant)
    response.headers["Cache-Control"] = "no-cache"
    latest = _latest(service, record)
    return RunResults(
        run=run,
        state=record.state,
        latest=None if latest.step is None else dict(latest.step),
        evaluations=[dict(values) for values in service.runs.figures.evaluations(run)],
        files=results.files_of(run, service.folder(run)),
    )


@router.get("/{run}/series", responses=problem_answers(404, 422))
def get_run_series(
    *,
    run: RunId,
    service: ServiceOf,
    tenant: Tenant,
    response: Response,
    points: Annotated[
        int, Query(ge=4, le=MAX_POINTS, description="The most points of each figure of the steps.")
    ] = POINTS,
) -> RunSeries:
    """The figures of a run over its steps; its cost does not grow with the steps."""
    record = service.runs.get(run, tenant=tenant)
    response.headers["Cache-Control"] = "no-cache"
    curves = service.runs.figures.curves(run, points=points)
    return RunSeries(
        run=run,
        state=record.state,
        steps=_series(curves.steps),
        evaluations=_series(curves.evaluations),
        thinned=curves.thinned,
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


def _series(curves: Mapping[str, Sequence[Point]]) -> dict[str, Series]:
    return {
        name: Series(step=[point.step for point in points], value=[point.value for point in points])
        for name, points in curves.items()
    }


def _latest(service: Service, record: RunRecord) -> Latest:
    return service.runs.figures.latest([record.id]).get(record.id, Latest())


def _view(service: Service, record: RunRecord, latest: Latest | None = None) -> Run:
    configuration = dict(record.configuration)
    figures = latest or _latest(service, record)
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
        latest=None if figures.step is None else dict(figures.step),
        evaluation=None if figures.evaluation is None else dict(figures.evaluation),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
