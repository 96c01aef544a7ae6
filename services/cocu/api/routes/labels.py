"""Labels of samples, kept with their dataset under a name."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from cocu import schemas
from cocu.api import serializers
from cocu.api.bodies import spool_json
from cocu.api.dependencies import DatasetId, PlatformOf, SamplesOf, Tenant
from cocu.api.idempotency import SpooledRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.queries import label_sets
from cocu.api.routes.evaluations import SMALL_BYTES
from cocu.catalog import datasets
from cocu.catalog import label_sets as kept
from cocu.schemas.evaluations import LABELS_NAME

router = APIRouter(prefix="/v1/datasets/{dataset}/labels", tags=["labels"], route_class=SpooledRoute)

LabelsName = Annotated[
    str,
    Path(
        pattern=LABELS_NAME,
        description="A name for the labels: up to 64 letters, digits and _.-, the first a letter or digit.",
    ),
]
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LabelsKeep"}}},
    }
}
"""The body in the OpenAPI document. It is no parameter, because FastAPI would read it into memory."""


@router.put("/{name}", status_code=201, openapi_extra=BODY)
async def put_labels(
    *,
    dataset: DatasetId,
    name: LabelsName,
    request: Request,
    platform: PlatformOf,
    samples: SamplesOf,
    tenant: Tenant,
    response: Response,
) -> schemas.LabelSet:
    """Keep labels under a name: a table key → labels, or the instances of COCO; 200 if it replaces labels.

    The answer says how many images were matched with samples, and which were not. Archives are seen by them
    with `labels=`, and an evaluation may name them.
    """
    await run_in_threadpool(datasets.require, platform.catalog, tenant=tenant, dataset_id=dataset)
    body, size = await spool_json(request)
    keep = partial(label_sets.keep, platform, samples, tenant=tenant, dataset=dataset, name=name, body=body)
    if size <= SMALL_BYTES:
        record, is_new = await run_in_threadpool(keep)
    else:
        async with request.app.state.measuring:
            record, is_new = await run_in_threadpool(keep)
    response.status_code = 201 if is_new else 200
    return serializers.label_set(record)


@router.get("")
def list_labels(
    *, dataset: DatasetId, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.LabelSet]:
    """List the labels that a dataset keeps, by name."""
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"labels {dataset}"
    records = kept.list_page(
        platform.catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=read_cursor(listing, cursor)
    )
    return make_page(listing, records, serializers.label_set, schemas.LabelSet)


@router.get("/{name}")
def get_labels(
    *, dataset: DatasetId, name: LabelsName, platform: PlatformOf, tenant: Tenant
) -> schemas.LabelSet:
    """Return what is known of labels: how many there are, and how they match the samples."""
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    record = kept.get(platform.catalog, tenant=tenant, dataset_id=dataset, name=name)
    return serializers.label_set(record)


@router.delete("/{name}", status_code=204)
def delete_labels(*, dataset: DatasetId, name: LabelsName, platform: PlatformOf, tenant: Tenant) -> None:
    """Forget labels, and every verdict by them; evaluations stay. 204 also if there are none."""
    label_sets.remove(platform, tenant=tenant, dataset=dataset, name=name)
