"""Uploads: a file streamed into a dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from cocu import schemas
from cocu.api import serializers, upload_stream
from cocu.api.content_digest import parse_content_digest
from cocu.api.dependencies import DatasetId, PlatformOf, Tenant
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.routes import resumables
from cocu.api.stream_limits import UploadStream
from cocu.catalog import datasets, uploads

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
    slot: UploadStream,
    request: Request,
    response: Response,
    platform: PlatformOf,
    tenant: Tenant,
    options: Annotated[schemas.UploadOptions, Query()],
    content_digest: Annotated[
        str | None,
        Header(description="sha-256=:<base64>: of the body; a body that does not match is not stored."),
    ] = None,
) -> schemas.Upload:
    """Stream a file in: a tar (also .gz or .zst) or a zip of images with captions, Parquet, CSV or TSV.

    With the option encoder: a tar or zip of embeddings made by this encoder, in the layout of clip-retrieval:
    img_emb/*.npy and metadata/*.parquet.

    201: the file is stored and will be read. 200: the same content has this name already. 409: other content
    has this name, or the same content with other options.
    """
    expected = parse_content_digest(content_digest)
    length = request.headers.get("content-length", "")
    received = await upload_stream.receive(
        platform,
        tenant=tenant,
        dataset=dataset,
        name=name,
        chunks=request.stream(),
        sha256=expected,
        length=int(length) if length.isdigit() else None,
        options=serializers.read_options(options, platform.encoders),
        stopping=request.app.state.stopping,
    )
    response.status_code = 201 if received.new else 200
    return serializers.upload(received.upload)


@router.get("")
def list_uploads(
    *, dataset: DatasetId, platform: PlatformOf, tenant: Tenant, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Page[schemas.Upload]:
    """List uploads, oldest first."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    listing = f"uploads {dataset}"
    records = uploads.list_page(
        platform.catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=read_cursor(listing, cursor)
    )
    return make_page(listing, records, serializers.upload, schemas.Upload)


@router.get("/{name}")
def get_upload(dataset: DatasetId, name: UploadName, platform: PlatformOf, tenant: Tenant) -> schemas.Upload:
    """Return one upload."""
    return serializers.upload(uploads.get(platform.catalog, tenant=tenant, dataset_id=dataset, name=name))
