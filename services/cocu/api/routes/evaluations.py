"""Evaluations: archives measured against human labels."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cocu.api import evaluating, views
from cocu.api.dependencies import ArchivesOf, CurationId, EvaluationId, PlatformOf, SamplesOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, page, position
from cocu.client import models
from cocu.storage.catalog import curations, evaluations

router = APIRouter(
    prefix="/v1/curations/{curation}/evaluations", tags=["evaluations"], route_class=IdempotentRoute
)


@router.post("", status_code=201)
def create_evaluation(
    *,
    curation: CurationId,
    body: models.EvaluationCreate,
    platform: PlatformOf,
    archives: ArchivesOf,
    samples: SamplesOf,
    tenant: Tenant,
    response: Response,
) -> models.Evaluation:
    """Measure archives against labels: a table key → labels, or the instances of COCO.

    200 where the same labels were measured before.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    measured = evaluating.evaluate(platform, samples, record, body)
    stored, new = evaluations.store(
        platform.catalog,
        tenant=tenant,
        curation_id=curation,
        labels_hash=measured.labels_hash,
        parameters={"label_map": measured.label_map},
        metrics=measured.document,
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/curations/{curation}/evaluations/{stored.id}"
    return views.evaluation(stored)


@router.get("")
def list_evaluations(
    *, curation: CurationId, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.Evaluation]:
    """List the evaluations of a curation."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    listing = f"evaluations {curation}"
    found = evaluations.list_page(
        platform.catalog, tenant=tenant, curation_id=curation, limit=limit, after=position(listing, cursor)
    )
    return page(listing, found, views.evaluation, models.Evaluation)


@router.get("/{evaluation}")
def get_evaluation(
    *, curation: CurationId, evaluation: EvaluationId, platform: PlatformOf, tenant: Tenant
) -> models.Evaluation:
    """Look at one evaluation."""
    curations.get(platform.catalog, tenant=tenant, curation_id=curation)
    found = evaluations.get(platform.catalog, tenant=tenant, curation_id=curation, evaluation_id=evaluation)
    return views.evaluation(found)
