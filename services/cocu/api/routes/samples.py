"""Samples: one image with its caption, as stored or small."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cocu.api import caching
from cocu.api.dependencies import DatasetId, PlatformOf, SamplesOf, Tenant
from cocu.api.pages import Cursor, Limit, page, position
from cocu.api.paths import SampleKey
from cocu.client import models
from cocu.datasets import images
from cocu.storage.catalog import datasets

router = APIRouter(prefix="/v1/datasets/{dataset}/samples", tags=["samples"])

IMAGE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The image.",
    }
}


@router.get("")
def list_samples(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    samples: SamplesOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> models.Page[models.Sample]:
    """List samples by key."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"samples {dataset}"
    found = samples.list_page(tenant=tenant, dataset=dataset, limit=limit, after=position(listing, cursor))
    return page(listing, found, lambda sample: sample, models.Sample)


@router.get("/{key:path}/image", response_class=Response, responses=IMAGE_ANSWERS)
def get_image(
    *,
    dataset: DatasetId,
    key: SampleKey,
    request: Request,
    platform: PlatformOf,
    samples: SamplesOf,
    tenant: Tenant,
    size: Annotated[
        int | None,
        Query(ge=16, le=1024, description="Longest side of a thumbnail; none for the image itself."),
    ] = None,
) -> Response:
    """The image of a sample: the very bytes that were uploaded, or a JPEG thumbnail.

    404 also for a sample that came as an embedding: nobody sent its picture.
    """
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    stored = samples.image(tenant=tenant, dataset=dataset, key=key)
    tag = stored.sha256 if size is None else f"{stored.sha256}-{size}"
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    data = samples.bytes_of(stored)
    if size is not None:
        data = images.thumbnail(data, side=size)
    response = Response(
        data,
        media_type=images.media_type(data),
        headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"},
    )
    return caching.mark_immutable(response, tag)


@router.get("/{key:path}")
def get_sample(
    *, dataset: DatasetId, key: SampleKey, platform: PlatformOf, samples: SamplesOf, tenant: Tenant
) -> models.Sample:
    """Look at one sample."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    return samples.get(tenant=tenant, dataset=dataset, key=key)
