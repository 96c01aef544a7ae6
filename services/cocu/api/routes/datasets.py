"""Datasets: create, list, look, delete; what became of their samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from cocu.api import views
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, page, position
from cocu.api.reports import report_lines
from cocu.client import models
from cocu.platform import Platform
from cocu.storage.catalog import datasets, rejections, retries, uploads
from cocu.storage.catalog.states import UploadState
from cocu.storage.catalog.uploads import UploadRecord

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=IdempotentRoute)


@router.post("", status_code=201)
def create_dataset(
    *, body: models.DatasetCreate, platform: PlatformOf, tenant: Tenant, response: Response
) -> models.Dataset:
    """Create an empty dataset."""
    record = datasets.create(platform.catalog, tenant=tenant, name=body.name)
    response.headers["Location"] = f"/v1/datasets/{record.id}"
    return views.dataset(record)


@router.get("")
def list_datasets(
    *, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.Dataset]:
    """List datasets, oldest first."""
    after = position("datasets", cursor)
    found = datasets.list_page(platform.catalog, tenant=tenant, limit=limit, after=after)
    return page("datasets", found, views.dataset, models.Dataset)


@router.get("/{dataset}")
def get_dataset(dataset: DatasetId, platform: PlatformOf, tenant: Tenant) -> models.Dataset:
    """Look at one dataset."""
    return views.dataset(datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset))


@router.delete("/{dataset}", status_code=204)
def delete_dataset(dataset: DatasetId, platform: PlatformOf, tenant: Tenant) -> None:
    """Delete a dataset with all that was made of it; its curations are cancelled."""
    platform.enqueue(datasets.begin_deletion(platform.catalog, tenant=tenant, dataset_id=dataset))


@router.get(
    "/{dataset}/report",
    response_model=models.Report,
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
) -> models.Report | Response:
    """Count accepted, skipped and failed samples by reason code, or list them as CSV."""
    record = datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    if format == "csv":
        listed = _uploads_of(platform, tenant, dataset)
        lines = report_lines(platform, tenant=tenant, dataset=dataset, uploads=listed)
        disposition = f'attachment; filename="report-{dataset}.csv"'
        return StreamingResponse(lines, media_type="text/csv", headers={"Content-Disposition": disposition})
    found = rejections.report(platform.catalog, tenant=tenant, dataset_id=dataset)
    failed = [each for each in _uploads_of(platform, tenant, dataset) if each.state == UploadState.FAILED]
    return models.Report(
        dataset=dataset,
        complete=record.ingesting == 0,
        uploads=record.uploads,
        uploads_failed=len(failed),
        accepted=found.accepted,
        skipped=sum(found.skipped.values()),
        failed=sum(found.failed.values()),
        reasons=found.skipped,
        failures=found.failed,
    )


@router.post("/{dataset}/retries", status_code=202)
def retry_uploads(
    *, dataset: DatasetId, platform: PlatformOf, tenant: Tenant, response: Response
) -> models.Retries:
    """Try once more what failed and may succeed; nothing that was accepted is touched.

    Failed uploads are read, or fetched, again. Of tables with URLs, those rows are whose image could not be
    had for a reason that can pass; what succeeds becomes further shards. Samples without an embedding are
    embedded again, except while a curation with that encoder is under way.
    """
    retried, planned = uploads.retry_failed(platform.catalog, tenant=tenant, dataset_id=dataset)
    again = retries.plan(
        platform.catalog, tenant=tenant, dataset_id=dataset, most_rows=platform.limits.max_rows
    )
    platform.enqueue([*planned, *again.planned])
    response.headers["Location"] = f"/v1/datasets/{dataset}/report"
    response.headers["Retry-After"] = "1"
    listed = _uploads_of(platform, tenant, dataset)
    unsent = [each.name for each in listed if each.state == UploadState.FAILED]
    return models.Retries(
        uploads=[each.name for each in retried], unsent=unsent, rows=again.rows, samples=again.samples
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
        str | None, Query(max_length=100, description="Only those with this reason code.")
    ] = None,
) -> models.Page[models.Rejection]:
    """List what was skipped, with the reason of each."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"rejections {dataset} {reason}"
    found = rejections.list_page(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        limit=limit,
        after=position(listing, cursor),
        reason=reason,
    )
    names = {each.id: each.name for each in _uploads_of(platform, tenant, dataset)}
    return page(listing, found, lambda record: views.rejection(record, names), models.Rejection)


def _uploads_of(platform: Platform, tenant: str, dataset: str) -> Iterator[UploadRecord]:
    after = None
    while True:
        found = uploads.list_page(
            platform.catalog, tenant=tenant, dataset_id=dataset, limit=1000, after=after
        )
        yield from found.items
        if found.next is None:
            return
        after = found.next
