"""Datasets: create, list, get, delete; the report of their samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from cocu import schemas
from cocu.api import serializers
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.report_csv import format_report
from cocu.catalog import datasets, rejections, uploads
from cocu.catalog.states import UploadState
from cocu.catalog.uploads import UploadRecord
from cocu.pipeline import submit, submit_retries, submit_uploads
from cocu.platform import Platform
from cocu.schemas.base import Word

MAX_AWAITED = 100
"""The most uploads that a report names of those that are still expected."""

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=IdempotentRoute)
MAX_FAILURES = 100


@router.post("", status_code=201)
def create_dataset(
    *, body: schemas.DatasetCreate, platform: PlatformOf, tenant: Tenant, response: Response
) -> schemas.Dataset:
    """Create an empty dataset."""
    record = datasets.create(platform.catalog, tenant=tenant, name=body.name)
    response.headers["Location"] = f"/v1/datasets/{record.id}"
    return serializers.dataset(record)


@router.get("")
def list_datasets(
    *, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.Dataset]:
    """List datasets, oldest first."""
    after = read_cursor("datasets", cursor)
    records = datasets.list_page(platform.catalog, tenant=tenant, limit=limit, after=after)
    return make_page("datasets", records, serializers.dataset, schemas.Dataset)


@router.get("/{dataset}")
def get_dataset(dataset: DatasetId, platform: PlatformOf, tenant: Tenant) -> schemas.Dataset:
    """Return one dataset."""
    return serializers.dataset(datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset))


@router.delete("/{dataset}", status_code=204)
def delete_dataset(dataset: DatasetId, request: Request, platform: PlatformOf, tenant: Tenant) -> None:
    """Delete a dataset with everything derived from it; its curations are cancelled."""
    platform.enqueue(submit.delete_dataset(platform.catalog, tenant=tenant, dataset_id=dataset))
    request.app.state.file_cache.forget(dataset)


@router.get(
    "/{dataset}/report",
    response_model=schemas.Report,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_report(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    tenant: Tenant,
    format: Annotated[
        Literal["json", "csv"], Query(description="csv: a line for every sample that was not accepted.")
    ] = "json",
) -> schemas.Report | Response:
    """Count accepted, skipped and failed samples by reason code, or list them as CSV."""
    record = datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    if format == "csv":
        records = _uploads_of(platform, tenant, dataset)
        lines = format_report(platform, tenant=tenant, dataset=dataset, uploads=records)
        disposition = f'attachment; filename="report-{dataset}.csv"'
        return StreamingResponse(lines, media_type="text/csv", headers={"Content-Disposition": disposition})
    totals = rejections.report(platform.catalog, tenant=tenant, dataset_id=dataset)
    failed: list[UploadRecord] = []
    notes: Counter[str] = Counter()
    for upload in _uploads_of(platform, tenant, dataset):
        if upload.state == UploadState.FAILED:
            failed.append(upload)
        notes.update((upload.reading or {}).get("notes", {}))
    return schemas.Report(
        dataset=dataset,
        complete=record.ingesting == record.receiving == 0,
        awaited=uploads.awaited(platform.catalog, tenant=tenant, dataset_id=dataset, limit=MAX_AWAITED),
        uploads=record.uploads,
        uploads_failed=len(failed),
        upload_failures={upload.name: upload.error or "" for upload in failed[:MAX_FAILURES]},
        accepted=totals.accepted,
        skipped=sum(totals.skipped.values()),
        failed=sum(totals.failed.values()),
        reasons=totals.skipped,
        failures=totals.failed,
        notes=dict(sorted(notes.items())),
    )


@router.post("/{dataset}/retries", status_code=202)
def retry_uploads(
    *, dataset: DatasetId, platform: PlatformOf, tenant: Tenant, response: Response
) -> schemas.Retries:
    """Try again what failed and may succeed now; accepted samples are not touched.

    Failed uploads are read, or fetched, again. So are rows of tables with URLs whose image could not be
    fetched for a temporary reason, or because of settings that have changed since; what succeeds becomes new
    shards. Samples without an embedding are embedded again, except while a curation with that encoder runs.
    """
    retried, task_refs = submit_uploads.retry_uploads(platform.catalog, tenant=tenant, dataset_id=dataset)
    policy = platform.fetcher(max_bytes=platform.limits.max_image_bytes).policy
    retry = submit_retries.retry_samples(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        max_rows=platform.limits.max_rows,
        policy=policy.signature,
    )
    platform.enqueue([*task_refs, *retry.task_refs])
    response.headers["Location"] = f"/v1/datasets/{dataset}/report"
    response.headers["Retry-After"] = "1"
    records = _uploads_of(platform, tenant, dataset)
    unsent = [upload.name for upload in records if upload.state == UploadState.FAILED]
    return schemas.Retries(
        uploads=[upload.name for upload in retried], unsent=unsent, rows=retry.rows, samples=retry.samples
    )


@router.get("/{dataset}/rejections")
def list_rejections(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
    reason: Annotated[
        Word | None, Query(max_length=100, description="Only those with this reason code.")
    ] = None,
) -> schemas.Page[schemas.Rejection]:
    """List the samples that were not accepted, each with its reason."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"rejections {dataset} {reason}"
    records = rejections.list_page(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        limit=limit,
        after=read_cursor(listing, cursor),
        reason=reason,
    )
    names = {upload.id: upload.name for upload in _uploads_of(platform, tenant, dataset)}
    return make_page(listing, records, lambda record: serializers.rejection(record, names), schemas.Rejection)


def _uploads_of(platform: Platform, tenant: str, dataset: str) -> Iterator[UploadRecord]:
    after = None
    while True:
        upload_page = uploads.list_page(
            platform.catalog, tenant=tenant, dataset_id=dataset, limit=1000, after=after
        )
        yield from upload_page.items
        if upload_page.next is None:
            return
        after = upload_page.next
