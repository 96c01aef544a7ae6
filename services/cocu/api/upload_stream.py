"""Receive an upload: stream it to the object store, hash it meanwhile, then register it in the catalog."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.api.shutdown import STOPPED, StoppedError, until_stopped
from cocu.catalog import quotas, uploads
from cocu.catalog.records import new_id
from cocu.errors import CocuError, LimitExceededError, UnavailableError
from cocu.formats.options import DEFAULT_OPTIONS, ReadOptions
from cocu.pipeline import submit_uploads
from cocu.pipeline.submit_uploads import RegisteredUpload
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.blocks import run_to_end

logger = logging.getLogger(__name__)


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
    stopping: threading.Event,
) -> RegisteredUpload:
    """Store a stream, of `length` bytes where that is known, as an upload, and enqueue its ingest.

    A stream that breaks off, is too large or does not have this SHA-256 (hex) is deleted, and its upload gets
    the state failed. stopping: set when the server begins to stop. Raises StoppedError when the server stops
    before the stream has arrived, BadRequestError for a broken stream or a wrong hash, LimitExceededError,
    ConflictError where other content, or the same content with other options, has this name.
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
    # Every attempt writes its own object, so that a second writer never changes a received one.
    path = paths.upload(dataset, new_id())
    progress = _ProgressReport(platform, announced.id)
    try:
        async with until_stopped(stopping), progress:
            stored = await platform.objects.put_stream(
                path,
                progress.counted(chunks),
                max_bytes=platform.settings.max_upload_bytes,
                sha256=sha256,
            )
    # BaseException: a cancelled request too must not leave an upload that seems to be arriving.
    except BaseException as error:
        reason = _reason(error)
        fail = partial(uploads.fail, platform.catalog, tenant=tenant, upload_id=announced.id, error=reason)
        # If the store or the catalog does not answer now, the sweeper cleans up later.
        for end in (partial(platform.objects.delete, path), fail):
            with suppress(CocuError):
                await run_to_end(end)
        raise
    try:
        return await run_to_end(
            partial(
                submit_uploads.register_upload,
                platform,
                tenant=tenant,
                upload_id=announced.id,
                stored=stored,
                max_tenant_bytes=platform.settings.max_tenant_bytes,
            )
        )
    except LimitExceededError as error:
        await run_in_threadpool(
            uploads.fail, platform.catalog, tenant=tenant, upload_id=announced.id, error=str(error)
        )
        raise


class _ProgressReport:
    """Renews the claim of an upload in the catalog, with the bytes received so far, while it arrives."""

    def __init__(self, platform: Platform, upload: str) -> None:
        self._platform, self._upload = platform, upload
        self._received = 0

    async def counted(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the same chunks, and count their bytes."""
        async for chunk in chunks:
            self._received += len(chunk)
            yield chunk

    async def __aenter__(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def __aexit__(self, *error: object) -> None:
        self._renewing.cancel()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(uploads.CLAIM_SECONDS / 6)
            try:
                # Not in the thread pool of requests: during an outage its threads would all wait here.
                await asyncio.to_thread(
                    uploads.claim, self._platform.catalog, upload_id=self._upload, received=self._received
                )
            except UnavailableError as error:
                logger.warning("could not renew the claim of an upload that arrives: %s", error)


def _reason(error: BaseException) -> str:
    if isinstance(error, StoppedError | asyncio.CancelledError):
        return STOPPED
    if isinstance(error, CocuError):
        return str(error)
    if isinstance(error, ClientDisconnect):
        return uploads.ABANDONED
    if isinstance(error, HTTPException):
        return str(error.detail)
    return f"it could not be stored ({type(error).__name__}); send it again"
