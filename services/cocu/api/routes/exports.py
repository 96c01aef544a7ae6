"""Exports: a curation as files, one at a time or all in one stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from html import escape
from http import HTTPStatus
from itertools import chain
from typing import Annotated, get_args
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from cocu import schemas
from cocu.api import conditional, ranges
from cocu.api.dependencies import CurationId, PlatformOf, Tenant
from cocu.api.head_requests import wants_body
from cocu.api.stream_limits import ExportStream
from cocu.api.streaming import run_on_thread
from cocu.catalog.curations import CurationShardRecord
from cocu.exports import files
from cocu.exports.export import Export
from cocu.exports.file_cache import CachedFile, FileCache
from cocu.exports.files import ExportedFile, Piece
from cocu.exports.keys import KeysCache
from cocu.exports.parameters import ExportParameters

router = APIRouter(prefix="/v1/curations/{curation}/export", tags=["exports"])

BYTES = {"schema": {"type": "string", "format": "binary"}}
MAX_CONCEPTS = 2**31 - 1


def _export(
    *,
    curation: CurationId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    form: Annotated[
        schemas.ExportFormat, Query(alias="format", description="The format of the files.")
    ] = "webdataset",
    images: Annotated[bool, Query(description="Include the images, if the format has them.")] = True,
    max_concepts: Annotated[
        int | None, Query(ge=1, le=MAX_CONCEPTS, description="The most concepts per sample, best first.")
    ] = None,
    clusters: Annotated[
        bool,
        Query(
            description="Only for `released`: include clusters; the released trainer cannot draw from them."
        ),
    ] = False,
) -> Export:
    parameters = ExportParameters(format=form, images=images, max_concepts=max_concepts, clusters=clusters)
    return Export.of(platform, request.app.state.export_keys, parameters, tenant=tenant, curation=curation)


ExportOf = Annotated[Export, Depends(_export)]


@router.get(
    "",
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys(files.WHOLE_MEDIA_TYPES, BYTES), "description": "The bytes."}},
)
async def stream_export(*, slot: ExportStream, export: ExportOf, request: Request) -> Response:
    """Stream the whole export.

    `webdataset`, `released`: one tar of all samples. `jsonl`: one sample per line. `parquet`, `huggingface`:
    a tar of the files. `datacomp`: an .npy of uids. A broken stream cannot be resumed; to fetch parts, take
    the files of the manifest one by one.
    """
    return await run_on_thread(partial(_whole_response, request, export))


def _whole_response(request: Request, export: Export) -> Response:
    tag = files.identity_of_whole(export)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    name = f"{export.record.id}-{export.parameters.format}"
    headers = _headers(files.whole_media_type(export), name)
    response = StreamingResponse(_primed(request, files.whole(export)), headers=headers)
    conditional.mark_immutable(response, tag)
    # No ranges: the length is only known when everything has been made, and then it is sent already.
    response.headers["Accept-Ranges"] = "none"
    return response


@router.get("/manifest", response_model=schemas.ExportManifest)
def get_export_manifest(
    *, export: ExportOf, request: Request, response: Response
) -> schemas.ExportManifest | Response:
    """Return the files of an export, and what the curation was made from."""
    tag = files.identity_of_whole(export)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    conditional.mark_immutable(response, tag)
    record, parameters = export.record, export.parameters
    shards = {shard.shard_id: shard for shard in export.shards}
    return schemas.ExportManifest(
        curation=record.id,
        dataset=record.dataset_id,
        content_hash=export.content_hash,
        snapshot=record.snapshot_hash,
        samples=record.samples,
        encoder=record.encoder,
        encoder_hash=record.encoder_hash,
        vocabulary=record.vocabulary_id,
        vocabulary_hash=record.vocabulary_hash,
        parameters=record.parameters,
        format=parameters.format,
        images=parameters.with_images,
        max_concepts=parameters.max_concepts,
        clusters=parameters.clusters,
        files=[_file(export, file, shards.get(file.shard or "")) for file in files.files(export)],
    )


# Not in the OpenAPI document: a folder listing for programs (fsspec, wget); its URL ends with a slash.
@router.get("/files/", include_in_schema=False)
def list_export_files(
    *, curation: CurationId, request: Request, platform: PlatformOf, tenant: Tenant
) -> Response:
    """List every file of every format as a link; `*.parquet?format=parquet` selects those of one format."""
    keys: KeysCache = request.app.state.export_keys
    export = Export.of(platform, keys, ExportParameters(), tenant=tenant, curation=curation)
    tag = conditional.make_tag("files", files.identity_of_whole(export))
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    links = [
        f'<a href="{quote(file.name)}?format={format_name}">{escape(file.name)}</a> {format_name}'
        for format_name in get_args(schemas.ExportFormat)
        for file in files.files(replace(export, parameters=ExportParameters(format=format_name)))
    ]
    page = "<!doctype html><title>Export</title>\n<pre>\n" + "\n".join(links) + "\n</pre>\n"
    return conditional.mark_immutable(Response(page, media_type="text/html"), tag)


@router.get(
    "/files/{name:path}",
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys(files.MEDIA_TYPES, BYTES), "description": "The bytes."}},
)
async def get_export_file(
    *,
    name: Annotated[str, Path(description="The name of a file in the manifest.")],
    slot: ExportStream,
    export: ExportOf,
    request: Request,
) -> Response:
    """Return one file of an export, whole or in parts (Range), as readers of Parquet need it.

    Its ETag is the one in the manifest; equal ETags mean equal bytes. HEAD makes the whole file to tell its
    length; parts that are requested next come from the disk.
    """
    # Generated clients encode the slashes of parameters; see `paths`.
    return await run_on_thread(partial(_file_response, request, export, name.replace("%2F", "/")))


def _file_response(request: Request, export: Export, name: str) -> Response:
    file = files.file(export, name)
    if conditional.not_modified(request, file.identity):
        return conditional.not_modified_response(file.identity)
    headers = _headers(file.media_type, file.name.rpartition("/")[2])
    cache: FileCache = request.app.state.file_cache
    cached = cache.get(export.record.dataset_id, file)
    if cached is None and ("range" in request.headers or not wants_body(request)):
        cached = cache.get_or_write(export.record.dataset_id, file)
    if cached is None:
        response: Response = StreamingResponse(_primed(request, file.pieces()), headers=headers)
    else:
        response = _in_parts(request, cached, headers, conditional.quote(file.identity))
    if response.status_code < HTTPStatus.BAD_REQUEST:
        conditional.mark_immutable(response, file.identity)
    return response


def _headers(media_type: str, name: str) -> dict[str, str]:
    return {
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }


def _in_parts(request: Request, cached: CachedFile, headers: dict[str, str], etag: str) -> Response:
    """A cached file, or the part of it that is requested; only that part is read."""
    try:
        part = (
            ranges.parse_range(request.headers, size=cached.size, etag=etag) if wants_body(request) else None
        )
    except ranges.RangeError as error:
        return ranges.range_error_response(error, request.url.path)
    if part is None:
        headers["Content-Length"] = str(cached.size)
        return StreamingResponse(cached.pieces(0, cached.size), headers=headers)
    return StreamingResponse(
        cached.pieces(part.start, part.end), status_code=206, headers=headers | part.headers
    )


def _primed(request: Request, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Return the same pieces, the first made now: if that fails, the status can still say so."""
    if not wants_body(request):
        return iter(())
    first = next(pieces, b"")
    return chain((first,), pieces)


def _file(export: Export, file: ExportedFile, shard: CurationShardRecord | None) -> schemas.ExportFile:
    parameters = export.parameters
    query: dict[str, object] = {"format": parameters.format}
    if not parameters.images:
        query["images"] = "false"
    if parameters.max_concepts is not None:
        query["max_concepts"] = parameters.max_concepts
    if parameters.clusters:
        query["clusters"] = "true"
    return schemas.ExportFile(
        name=file.name,
        url=f"files/{quote(file.name)}?{urlencode(query)}",
        etag=file.identity,
        samples=file.samples,
        media_type=file.media_type,
        shard=file.shard,
        sha256=None if shard is None else shard.sha256,
        content_hash=None if shard is None else shard.content_hash,
    )
