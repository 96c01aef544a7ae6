"""Taking in an upload: stream to the object store, hash on the way, then tell the catalog."""

from __future__ import annotations

from collections.abc import AsyncIterable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.datasets.options import DEFAULT_OPTIONS, ReadOptions
from cocu.errors import CocuError, LimitExceededError
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.catalog import quotas, uploads
from cocu.storage.catalog.records import new_id
from cocu.workers import arrivals
from cocu.workers.arrivals import Received


async def receive(
    platform: Platform,
    *,
    tenant: str,
    dataset: str,
    name: str,
    chunks: AsyncIterable[bytes],
    sha256: str | None,
    length: int | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Received:
    """Store a stream, of `length` bytes where that is known, as an upload and plan its ingest.

    Nothing stays of a stream that breaks off, is too large or does not have this SHA-256 (hex). Raises
    BadRequestError for the first and last, LimitExceededError, ConflictError where other content, or
    the same to be read otherwise, has this name.
    """
    await run_in_threadpool(
        quotas.check_room,
        platform.catalog,
        tenant=tenant,
        size=length or 0,
        limit=platform.settings.max_tenant_bytes,
    )
    announced = await run_in_threadpool(
        uploads.register,
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        name=name,
        options=options.to_json(),
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
    try:
        return await run_in_threadpool(
            arrivals.register,
            platform,
            tenant=tenant,
            upload_id=announced.id,
            stored=stored,
            max_tenant_bytes=platform.settings.max_tenant_bytes,
        )
    except LimitExceededError as error:
        await run_in_threadpool(
            uploads.fail, platform.catalog, tenant=tenant, upload_id=announced.id, error=str(error)
        )
        raise
