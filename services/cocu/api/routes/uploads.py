"""Uploads: a file streamed into a dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from cocu.api import receiving, views
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.digests import expected_sha256
from cocu.api.pages import Cursor, Limit, page, position
from cocu.api.routes import resumables
from cocu.client import models
from cocu.storage.catalog import datasets, uploads

router = APIRouter(prefix="/v1/datasets/{dataset}/uploads", tags=["uploads"])

UploadName = Annotated[
    str,
    Path(
        max_length=resumables.NAME_LENGTH,
        pattern=resumables.NAME_PATTERN,
        description="Name of the file: letters, digits, spaces and ._-()+,=@, not starting with a dot.",
    ),
]
BINARY_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/{name}", status_code=201, openapi_extra=BINARY_BODY)
async def put_upload(
    *,
    dataset: DatasetId,
    name: UploadName,
    request: Request,
    response: Response,
    platform: PlatformOf,
    tenant: Tenant,
    options: Annotated[models.UploadOptions, Query()],
    content_digest: Annotated[
        str | None, Header(description="sha-256=:<base64>: of the body; what does not match is not stored.")
    ] = None,
) -> models.Upload:
    """Stream a file in: a tar (also .gz or .zst) or a zip of images with captions, Parquet, CSV or TSV.

    With the option encoder, a tar or zip of embeddings that it made, as clip-retrieval lays them out:
    img_emb/*.npy and metadata/*.parquet.

    201: it arrived and will be read. 200: the same content had arrived under this name before. 409: other
    content had, or the same to be read with other options.
    """
    expected = expected_sha256(content_digest)
    length = request.headers.get("content-length", "")
    received = await receiving.receive(
        platform,
        tenant=tenant,
        dataset=dataset,
        name=name,
        chunks=request.stream(),
        sha256=expected,
        length=int(length) if length.isdigit() else None,
        options=views.read_options(options, platform.encoders),
    )
    response.status_code = 201 if received.new else 200
    return views.upload(received.upload)


@router.get("")
def list_uploads(
    *, dataset: DatasetId, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> models.Page[models.Upload]:
    """List uploads, oldest first."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"uploads {dataset}"
    found = uploads.list_page(
        platform.catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=position(listing, cursor)
    )
    return page(listing, found, views.upload, models.Upload)


@router.get("/{name}")
def get_upload(dataset: DatasetId, name: UploadName, platform: PlatformOf, tenant: Tenant) -> models.Upload:
    """Look at one upload."""
    return views.upload(uploads.get(platform.catalog, tenant=tenant, dataset_id=dataset, name=name))
