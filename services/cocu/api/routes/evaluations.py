"""Evaluations: archives measured against human labels."""

from __future__ import annotations

from functools import partial
from typing import IO

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from cocu import schemas
from cocu.api import evaluation, serializers
from cocu.api.bodies import spool_json
from cocu.api.dependencies import ArchivesOf, CurationId, EvaluationId, PlatformOf, SamplesOf, Tenant
from cocu.api.idempotency import SpooledRoute
from cocu.api.labels import LabelTable
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.queries import Samples, label_sets
from cocu.catalog import curations, evaluations
from cocu.catalog.curations import CurationRecord
from cocu.platform import Platform

router = APIRouter(
    prefix="/v1/curations/{curation}/evaluations", tags=["evaluations"], route_class=SpooledRoute
)

BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EvaluationCreate"}}},
    }
}
"""The body in the OpenAPI document. It is no parameter, because FastAPI would read it into memory."""
SMALL_BYTES = 1 << 20
"""Bodies up to this size are evaluated at once, larger ones one at a time."""


@router.post("", status_code=201, openapi_extra=BODY)
async def create_evaluation(
    *,
    curation: CurationId,
    request: Request,
    platform: PlatformOf,
    archives: ArchivesOf,
    samples: SamplesOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Evaluation:
    """Measure archives against labels: a table key → labels, the instances of COCO, or labels that are kept.

    200 if the same labels were evaluated before.
    """
    record = await run_in_threadpool(archives.completed, tenant=tenant, curation=curation)
    body, size = await spool_json(request)
    measure = partial(_measure, platform, samples, record, body)
    if size <= SMALL_BYTES:
        stored, new = await run_in_threadpool(measure)
    else:
        async with request.app.state.measuring:
            stored, new = await run_in_threadpool(measure)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/curations/{curation}/evaluations/{stored.id}"
    return serializers.evaluation(stored)


def _measure(
    platform: Platform, samples: Samples, record: CurationRecord, body: IO[bytes]
) -> tuple[evaluations.EvaluationRecord, bool]:
    with LabelTable(platform.settings.data_folder) as table:
        table.read(body)
        if table.kept is not None:
            kept = label_sets.find(platform, record, table.kept, field="body.kept")
            label_sets.read_into(platform, table, kept)
        result = evaluation.evaluate(platform, samples, record, table)
    return evaluations.store(
        platform.catalog,
        tenant=record.tenant,
        curation_id=record.id,
        labels_hash=result.labels_hash,
        parameters={"label_map": result.label_map},
        metrics=result.document,
    )


@router.get("")
def list_evaluations(
    *, curation: CurationId, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.Evaluation]:
    """List the evaluations of a curation."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    listing = f"evaluations {curation}"
    records = evaluations.list_page(
        platform.catalog, tenant=tenant, curation_id=curation, limit=limit, after=read_cursor(listing, cursor)
    )
    return make_page(listing, records, serializers.evaluation, schemas.Evaluation)


@router.get("/{evaluation}")
def get_evaluation(
    *, curation: CurationId, evaluation: EvaluationId, platform: PlatformOf, tenant: Tenant
) -> schemas.Evaluation:
    """Return one evaluation."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    record = evaluations.get(platform.catalog, tenant=tenant, curation_id=curation, evaluation_id=evaluation)
    return serializers.evaluation(record)
