"""Imports: files that the platform fetches itself."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cocu.api import importing, views
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.client import models
from cocu.client.transport import segment

router = APIRouter(prefix="/v1/datasets/{dataset}/imports", tags=["uploads"], route_class=IdempotentRoute)

RETRY_AFTER = "1"


@router.post("", status_code=202)
def create_import(
    *,
    dataset: DatasetId,
    body: models.ImportCreate,
    platform: PlatformOf,
    tenant: Tenant,
    response: Response,
) -> models.Import:
    """Fetch files from URLs, or from under an s3:// prefix, as uploads of their own.

    Location lists the uploads, with the bytes that have come so far. Only the public internet is reached,
    over http and https; what its owner keeps from machine learning (X-Robots-Tag: noai) is left alone.
    """
    announced = importing.announce(platform, tenant=tenant, dataset=dataset, request=body)
    base = f"/v1/datasets/{segment(dataset)}/uploads"
    one = f"/{segment(announced[0].name)}" if len(announced) == 1 else ""
    response.headers["Location"] = base + one
    response.headers["Retry-After"] = RETRY_AFTER
    return models.Import(dataset=dataset, uploads=[views.upload(record) for record in announced])
