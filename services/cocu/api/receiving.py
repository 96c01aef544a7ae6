"""Taking in an upload: stream to the object store, hash on the way, then tell the catalog."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.errors import CocuError
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import uploads
from cocu.storage.catalog.records import new_id
from cocu.storage.catalog.uploads import UploadRecord
from cocu.storage.objects import StoredObject


@dataclass(frozen=True)
class Received:
    """An upload that has arrived; `new` unless the same content had arrived before."""

    upload: UploadRecord
    new: bool


async def receive(
    platform: Platform,
    *,
    tenant: str,
    dataset: str,
    name: str,
    chunks: AsyncIterable[bytes],
    sha256: str | None,
) -> Received:
    """Store a stream as an upload and plan its ingest.

    Nothing stays of a stream that breaks off, is too large or does not have this SHA-256 (hex). Raises
    BadRequestError for the first and last, LimitExceededError, ConflictError where other content has this
    name.
    """
    announced = await run_in_threadpool(
        uploads.register, platform.catalog, tenant=tenant, dataset_id=dataset, name=name
    )
    # Every attempt has an object of its own, so that a second writer never touches what was received.
    path = paths.upload(dataset, new_id())
    try:
        stored = await platform.objects.put_stream(
            path, chunks, max_bytes=platform.settings.max_upload_bytes, sha256=sha256
        )
    except (CocuError, ClientDisconnect, HTTPException) as error:
        reason = str(error) or "the connection broke off"
        await run_in_threadpool(
            uploads.fail, platform.catalog, tenant=tenant, upload_id=announced.id, error=reason
        )
        raise
    return await run_in_threadpool(_received, platform, tenant, announced.id, stored)


def _received(platform: Platform, tenant: str, upload_id: str, stored: StoredObject) -> Received:
    try:
        upload, planned = uploads.receive(
            platform.catalog,
            tenant=tenant,
            upload_id=upload_id,
            object_path=stored.path,
            size=stored.size,
            sha256=stored.sha256,
        )
    except CocuError:
        platform.objects.delete(stored.path)
        raise
    if not planned:
        platform.objects.delete(stored.path)
        return Received(upload=upload, new=False)
    platform.enqueue(planned)
    return Received(upload=upload, new=True)
