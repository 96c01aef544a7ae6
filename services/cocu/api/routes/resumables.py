"""Resumable uploads (tus 1.0.0): a file that arrives in pieces, over as many connections as it takes."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from cocu.api import resuming, tus, views
from cocu.api.dependencies import DatasetId, PlatformOf, ResumableId, Tenant
from cocu.client import models
from cocu.client.transport import segment
from cocu.errors import InvalidInputError

router = APIRouter(prefix="/v1/datasets/{dataset}/uploads", tags=["uploads"], route_class=tus.TusRoute)

NAME_LENGTH = 200
NAME_PATTERN = r"^[\w][\w .()+,=@-]*$"
PIECE = {
    "requestBody": {
        "required": True,
        "content": {tus.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
Resumable = Annotated[str, Header(description=f"{tus.VERSION}, the version of tus.")]


@router.options("", status_code=204)
@router.options("/resumable/{resumable}", status_code=204, include_in_schema=False)
def describe_resumable_uploads(dataset: DatasetId, platform: PlatformOf) -> Response:
    """Say what of tus is spoken here: versions, extensions, the largest upload."""
    return Response(status_code=204, headers=tus.capabilities(platform.settings.max_upload_bytes))


@router.post("", status_code=201)
def create_resumable_upload(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    tenant: Tenant,
    options: Annotated[models.UploadOptions, Query()],
    upload_length: Annotated[str | None, Header(description="Bytes of the whole file.")] = None,
    upload_metadata: Annotated[
        str | None,
        Header(description="`filename <base64>`, and if you like `,sha256 <base64 of the hexadecimal>`."),
    ] = None,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Announce a file that will come in pieces (tus); send them to Location.

    412: another version of tus. 413: larger than an upload, or all uploads of a tenant, may be. With the same
    Idempotency-Key the same upload goes on, also from another process.
    """
    length = tus.number("Upload-Length", upload_length)
    said = tus.metadata(upload_metadata)
    record = resuming.create(
        platform,
        tenant=tenant,
        dataset=dataset,
        name=_name(said.get("filename")),
        length=length,
        sha256=tus.whole_sha256(said),
        description=upload_metadata or "",
        options=views.read_options(options, platform.encoders),
    )
    location = f"/v1/datasets/{segment(dataset)}/uploads/resumable/{record.id}"
    return Response(status_code=201, headers={"Location": location, **tus.state(record)})


@router.head("/resumable/{resumable}", status_code=200)
def get_resumable_offset(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    platform: PlatformOf,
    tenant: Tenant,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Say how many bytes are safely stored (tus): where to go on. 410: it was waited for too long."""
    record = resuming.look(platform, tenant=tenant, dataset=dataset, resumable=resumable)
    headers = {**tus.state(record), "Upload-Length": str(record.length)}
    if record.description:
        headers["Upload-Metadata"] = record.description
    return Response(status_code=200, headers=headers)


@router.patch("/resumable/{resumable}", status_code=204, openapi_extra=PIECE)
async def append_to_upload(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    upload_offset: Annotated[str | None, Header(description="Where the piece begins.")] = None,
    upload_checksum: Annotated[
        str | None, Header(description="`sha1 <base64>` or `sha256 <base64>` of the piece.")
    ] = None,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """Send the next piece (tus). When the last byte is here the file is an upload as if it had been PUT.

    409: it goes on at another offset, or other content has its name. 413: longer than announced. 423: another
    request is sending. 460: not what its checksum says, and not kept.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != tus.MEDIA_TYPE:
        raise HTTPException(415, f"Send pieces as {tus.MEDIA_TYPE}.")
    length = request.headers.get("content-length")
    record = await resuming.append(
        platform,
        tenant=tenant,
        dataset=dataset,
        resumable=resumable,
        chunks=aiter(request.stream()),
        offset=tus.number("Upload-Offset", upload_offset),
        size=None if length is None else tus.number("Content-Length", length),
        checksum=tus.checksum(upload_checksum),
    )
    return Response(status_code=204, headers=tus.state(record))


@router.delete("/resumable/{resumable}", status_code=204)
async def terminate_upload(
    *,
    dataset: DatasetId,
    resumable: ResumableId,
    platform: PlatformOf,
    tenant: Tenant,
    tus_resumable: Resumable = tus.VERSION,
) -> Response:
    """End an upload that is not complete, and free what it took (tus)."""
    await run_in_threadpool(resuming.terminate, platform, tenant=tenant, dataset=dataset, resumable=resumable)
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
