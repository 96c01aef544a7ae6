"""Exports: a curation as files, one at a time or all in one stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from cocu.api import caching
from cocu.api.dependencies import CurationId, PlatformOf, Tenant
from cocu.client import models
from cocu.exports import files
from cocu.exports.export import Export
from cocu.exports.files import ExportedFile, Piece
from cocu.exports.parameters import ExportFormat, ExportParameters
from cocu.storage.catalog.curations import CurationShardRecord

router = APIRouter(prefix="/v1/curations/{curation}/export", tags=["exports"])

BYTES = {"schema": {"type": "string", "format": "binary"}}
WHOLE = ("application/x-tar", "application/jsonl", "application/octet-stream")
FILES = (*WHOLE, "application/vnd.apache.parquet", "text/markdown")
MOST_CONCEPTS = 2**31 - 1


def _export(
    *,
    curation: CurationId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    form: Annotated[ExportFormat, Query(alias="format", description="What the files are.")] = (
        ExportFormat.WEBDATASET
    ),
    images: Annotated[bool, Query(description="With the images, where the format holds them.")] = True,
    max_concepts: Annotated[
        int | None, Query(ge=1, le=MOST_CONCEPTS, description="The best of each sample, so many.")
    ] = None,
    clusters: Annotated[
        bool,
        Query(description="Of `released`: name the clusters, which the released trainer cannot draw from."),
    ] = False,
) -> Export:
    asked = ExportParameters(format=form, images=images, max_concepts=max_concepts, clusters=clusters)
    return Export.of(platform, request.app.state.export_keys, asked, tenant=tenant, curation=curation)


Asked = Annotated[Export, Depends(_export)]


@router.get(
    "",
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys(WHOLE, BYTES), "description": "The bytes."}},
)
def stream_export(*, export: Asked, request: Request) -> Response:
    """The whole export as one stream.

    `webdataset`, `released`: one tar of all samples. `jsonl`: a sample a line. `parquet`, `huggingface`: a
    tar of the files. `datacomp`: an .npy of uids. A stream that broke off begins anew; the files of the
    manifest can be fetched one by one.
    """
    name = f"{export.record.id}-{export.parameters.format}"
    media_type = files.whole_media_type(export)
    return _streamed(request, files.identity_of_whole(export), media_type, name, lambda: files.whole(export))


@router.get("/manifest", response_model=models.ExportManifest)
def get_export_manifest(
    *, export: Asked, request: Request, response: Response
) -> models.ExportManifest | Response:
    """Which files an export has, and what the curation was made of."""
    tag = files.identity_of_whole(export)
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    caching.mark_immutable(response, tag)
    record, asked = export.record, export.parameters
    shards = {shard.shard_id: shard for shard in export.shards}
    return models.ExportManifest(
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
        format=asked.format.value,
        images=asked.with_images,
        max_concepts=asked.max_concepts,
        clusters=asked.clusters,
        files=[_file(export, each, shards.get(each.shard or "")) for each in files.files(export)],
    )


@router.get(
    "/files/{name:path}",
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys(FILES, BYTES), "description": "The bytes."}},
)
def get_export_file(
    *, name: Annotated[str, Path(description="Of a file of the manifest.")], export: Asked, request: Request
) -> Response:
    """One file of an export. Its ETag is that of the manifest: equal ones mean equal bytes."""
    # Generated clients encode slashes in parameters; see `paths`.
    found = files.file(export, name.replace("%2F", "/"))
    return _streamed(request, found.identity, found.media_type, name.rpartition("/")[2], found.pieces)


def _streamed(request: Request, tag: str, media_type: str, name: str, pieces: Any) -> Response:
    if caching.not_modified(request, tag):
        return caching.unchanged(tag)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    response = StreamingResponse(_begun(pieces()), media_type=media_type, headers=headers)
    caching.mark_immutable(response, tag)
    return response


def _begun(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces; what fails with the first still becomes a problem, as nothing has been sent yet."""
    first = next(pieces, b"")
    return chain((first,), pieces)


def _file(export: Export, file: ExportedFile, shard: CurationShardRecord | None) -> models.ExportFile:
    asked = export.parameters
    query: dict[str, object] = {"format": asked.format.value}
    if not asked.images:
        query["images"] = "false"
    if asked.max_concepts is not None:
        query["max_concepts"] = asked.max_concepts
    if asked.clusters:
        query["clusters"] = "true"
    return models.ExportFile(
        name=file.name,
        url=f"/v1/curations/{export.record.id}/export/files/{quote(file.name)}?{urlencode(query)}",
        etag=file.identity,
        samples=file.samples,
        media_type=file.media_type,
        shard=file.shard,
        sha256=None if shard is None else shard.sha256,
        content_hash=None if shard is None else shard.content_hash,
    )
