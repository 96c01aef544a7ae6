"""Imports: files that the platform fetches itself."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cocu import schemas
from cocu.api import imports, serializers
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.client.transport import segment

router = APIRouter(prefix="/v1/datasets/{dataset}/imports", tags=["uploads"], route_class=IdempotentRoute)

RETRY_AFTER = "1"


@router.post("", status_code=202)
def create_import(
    *,
    dataset: DatasetId,
    body: schemas.ImportCreate,
    platform: PlatformOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Import:
    """Fetch files from URLs, or all files under an s3:// prefix; each becomes an upload.

    Location lists the uploads, with the bytes received so far. Only the public internet is reached, over http
    and https. Files whose owner excludes machine learning (X-Robots-Tag: noai) are not used.
    """
    announced = imports.announce(platform, tenant=tenant, dataset=dataset, request=body)
    base = f"/v1/datasets/{segment(dataset)}/uploads"
    single = f"/{segment(announced[0].name)}" if len(announced) == 1 else ""
    response.headers["Location"] = base + single
    response.headers["Retry-After"] = RETRY_AFTER
    return schemas.Import(dataset=dataset, uploads=[serializers.upload(record) for record in announced])
