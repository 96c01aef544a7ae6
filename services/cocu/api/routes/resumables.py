"""Resumable uploads (tus 1.0.0): a file that arrives in pieces, over any number of connections."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu import schemas
from cocu.api import resumable_uploads, serializers, tus
from cocu.api.dependencies import DatasetId, PlatformOf, ResumableId, Tenant
from cocu.api.problems import list_methods
from cocu.api.stream_limits import UploadStream
from cocu.client.transport import segment
from cocu.errors import InvalidInputError

router = APIRouter(prefix="/v1/datasets/{dataset}/uploads", tags=["uploads"], route_class=tus.TusRoute)

NAME_LENGTH = 200
NAME_PATTERN = r"^[\w][\w .()+,=@-]*$"
PIECE_KINDS = (tus.MEDIA_TYPE, "application/octet-stream")
"""The media type of tus, and the one that generated clients can send."""
PIECE = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PIECE_KINDS},
    }
}
Resumable = Annotated[str, Header(description=f"{tus.VERSION}, the version of tus.")]


@router.options("", status_code=204)
@router.options("/resumable/{resumable}", status_code=204, include_in_schema=False)
def describe_resumable_uploads(dataset: DatasetId, request: Request, platform: PlatformOf) -> Response:
    """Return the supported versions and extensions of tus, and the size of the largest upload."""
    headers = {"Allow": ", ".join(list_methods(request))}
    headers |= tus.capability_headers(platform.settings.max_upload_bytes)
    return Response(status_code=204, headers=headers)


@router.post("", status_code=201)
def create_resumable_upload(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    tenant: Tenant,
    options: Annotated[schemas.UploadOptions, Query()],
    upload_length: Annotated[str | None, Header(description="Bytes of the whole file.")] = None,
    upload_metadata: Annotated[
        str | None,
        Header(description="`filename <base64>`, optionally `,sha256 <base64 of the hexadecimal>`."),
    ] = None,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Announce a file that will come in pieces (tus); send them to Location.

    412: another version of tus. 413: larger than one upload, or all uploads of a tenant, may be. The same
    Idempotency-Key continues the same upload, also from another process.
    """
    length = tus.parse_size("Upload-Length", upload_length)
    metadata = tus.parse_metadata(upload_metadata)
    record = resumable_uploads.create(
        platform,
        tenant=tenant,
        dataset=dataset,
        name=_name(metadata.get("filename")),
        length=length,
        sha256=tus.parse_sha256(metadata),
        description=upload_metadata or "",
        options=serializers.read_options(options, platform.encoders),
    )
    location = f"/v1/datasets/{segment(dataset)}/uploads/resumable/{record.id}"
    return Response(status_code=201, headers={"Location": location, **tus.state_headers(record)})


@router.head("/resumable/{resumable}", status_code=200)
def get_resumable_offset(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    platform: PlatformOf,
    tenant: Tenant,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Return how many bytes are safely stored (tus): where to go on. 410: the upload has expired."""
    record = resumable_uploads.look(platform, tenant=tenant, dataset=dataset, resumable=resumable)
    headers = {**tus.state_headers(record), "Upload-Length": str(record.length)}
    if record.description:
        headers["Upload-Metadata"] = record.description
    return Response(status_code=200, headers=headers)


@router.patch("/resumable/{resumable}", status_code=204, openapi_extra=PIECE)
async def append_to_upload(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    slot: UploadStream,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    upload_offset: Annotated[str | None, Header(description="The offset at which the piece begins.")] = None,
    upload_checksum: Annotated[
        str | None, Header(description="`sha1 <base64>` or `sha256 <base64>` of the piece.")
    ] = None,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Send the next piece (tus). With the last byte the file becomes an upload, as if it had been PUT.

    409: the upload continues at another offset, or other content has its name. 413: longer than announced.
    423: another request is sending. 460: the checksum does not match, and the piece is discarded.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in PIECE_KINDS:
        raise HTTPException(415, f"Send pieces as {tus.MEDIA_TYPE}.")
    length = request.headers.get("content-length")
    record = await resumable_uploads.append(
        platform,
        tenant=tenant,
        dataset=dataset,
        resumable=resumable,
        chunks=aiter(request.stream()),
        offset=tus.parse_size("Upload-Offset", upload_offset),
        size=None if length is None else tus.parse_size("Content-Length", length),
        checksum=tus.parse_checksum(upload_checksum),
        stopping=request.app.state.stopping,
    )
    return Response(status_code=204, headers=tus.state_headers(record))


@router.delete("/resumable/{resumable}", status_code=204)
async def terminate_upload(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    platform: PlatformOf,
    tenant: Tenant,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """End an upload that is not complete, and delete its bytes (tus)."""
    await run_in_threadpool(
        resumable_uploads.terminate, platform, tenant=tenant, dataset=dataset, resumable=resumable
    )
    return Response(status_code=204)


def _name(name: str | None) -> str:
    if name is None or len(name) > NAME_LENGTH or re.search(NAME_PATTERN, name) is None or "\n" in name:
        raise InvalidInputError(
            "The upload cannot begin.",
            {
                "Upload-Metadata.filename": "must be a name of letters, digits, spaces and ._-()+,=@, "
                f"not starting with a dot, of at most {NAME_LENGTH} characters"
            },
        )
    return name
