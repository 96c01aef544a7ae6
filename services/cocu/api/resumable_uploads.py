"""Receive an upload piece by piece: append the bytes, store the safe offset, register the upload at the end.

The offset in the catalog is the truth. It advances only after the bytes are on disk: every CHECKPOINT_BYTES
or CHECKPOINT_SECONDS, and when the connection ends in any way. A piece with a checksum is accepted as a whole
or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.api.shutdown import until_stopped
from cocu.api.tus import Checksum
from cocu.catalog import resumables, uploads
from cocu.catalog.resumables import ResumableRecord
from cocu.catalog.states import ResumableState, UploadState
from cocu.errors import ConflictError, LimitExceededError, NotFoundError
from cocu.formats.options import DEFAULT_OPTIONS, ReadOptions
from cocu.pipeline import submit_uploads
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.blocks import BlockWriter, run_to_end
from cocu.storage.objects import StoredObject
from cocu.storage.partial_upload import BusyError, PartialUpload

CHECKPOINT_BYTES = 64 << 20
CHECKPOINT_SECONDS = 2.0


def create(
    platform: Platform,
    *,
    tenant: str,
    dataset: str,
    name: str,
    length: int,
    sha256: str | None,
    description: str,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> ResumableRecord:
    """Announce an upload that will come in pieces.

    Raises NotFoundError without the dataset, LimitExceededError, ConflictError where other content has the
    name.
    """
    settings = platform.settings
    if length > settings.max_upload_bytes:
        raise LimitExceededError(
            f"an upload may have {settings.max_upload_bytes:,} bytes (max_upload_bytes), not {length:,}"
        )
    upload = uploads.register(
        platform.catalog, tenant=tenant, dataset_id=dataset, name=name, options=options.to_json()
    )
    if upload.state in (UploadState.RECEIVED, UploadState.INGESTED) and (
        upload.bytes != length or sha256 not in (None, upload.sha256)
    ):
        raise ConflictError(f"upload {name!r} has other content already; send this under another name")
    try:
        record = resumables.create(
            platform.catalog,
            tenant=tenant,
            dataset_id=dataset,
            upload_id=upload.id,
            length=length,
            sha256=sha256,
            description=description,
            seconds=settings.upload_expiry_seconds,
            max_tenant_bytes=settings.max_tenant_bytes,
        )
    except LimitExceededError as error:
        uploads.fail(platform.catalog, tenant=tenant, upload_id=upload.id, error=str(error))
        raise
    platform.partial_uploads.create(record.id)
    return _complete(platform, record) if record.complete else record


def look(platform: Platform, *, tenant: str, dataset: str, resumable: str) -> ResumableRecord:
    """Return the state of an upload. Register it if its last byte had arrived when the process died.

    Raises NotFoundError, and 410 for an upload that has expired.
    """
    record = _get(platform, tenant, dataset, resumable)
    if not record.complete or record.state != ResumableState.OPEN:
        return record
    try:
        with platform.partial_uploads.open(resumable):
            return _complete(platform, record)
    except BusyError:
        return record
    except NotFoundError:
        return _complete(platform, record)


async def append(
    platform: Platform,
    *,
    tenant: str,
    dataset: str,
    resumable: str,
    chunks: AsyncIterator[bytes],
    offset: int,
    size: int | None,
    checksum: Checksum | None,
    stopping: threading.Event,
) -> ResumableRecord:
    """Append a piece, of `size` bytes where that is known, at the offset where the upload goes on.

    Raises NotFoundError, 410, 423 while another request sends, ConflictError at another offset,
    LimitExceededError beyond the announced length, 460 when the checksum does not match, and StoppedError
    when the server stops before the piece has arrived. stopping: set when the server begins to stop.
    """
    await run_in_threadpool(_get, platform, tenant, dataset, resumable)
    with ExitStack() as stack:
        file = await run_in_threadpool(_locked, platform, stack, resumable)
        # Read it again: only with the lock is it certain that no other request changes the offset.
        record = await run_in_threadpool(_get, platform, tenant, dataset, resumable)
        if offset != record.offset:
            raise ConflictError(f"the upload goes on at byte {record.offset:,}, not at {offset:,}")
        if size is not None and offset + size > record.length:
            raise _too_long(record)
        if record.state != ResumableState.OPEN:
            return record
        assert file is not None
        await run_in_threadpool(file.truncate_to, offset)
        piece = _Piece(platform, record, file, checksum)
        async with until_stopped(stopping):
            await piece.receive(chunks)
        record = piece.record
        return await run_to_end(partial(_complete, platform, record)) if record.complete else record


def terminate(platform: Platform, *, tenant: str, dataset: str, resumable: str) -> None:
    """End an upload before it is complete, or forget that a complete one came in pieces.

    Raises NotFoundError, 410, 423 while a request sends.
    """
    record = _get(platform, tenant, dataset, resumable)
    with ExitStack() as stack:
        _locked(platform, stack, resumable)
        platform.partial_uploads.discard(resumable)
        resumables.remove(platform.catalog, resumable_id=resumable)
    if record.state == ResumableState.OPEN:
        uploads.fail(
            platform.catalog, tenant=tenant, upload_id=record.upload_id, error="ended by the one who sent it"
        )


class _Piece:
    """One request's part of an upload."""

    def __init__(
        self, platform: Platform, record: ResumableRecord, file: PartialUpload, checksum: Checksum | None
    ) -> None:
        self.record = record
        self._platform, self._file, self._checksum = platform, file, checksum
        self._hash = None if checksum is None else checksum.started()
        self._checkpoint_at = time.monotonic()

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """Receive all chunks; keep those that came before the connection broke, stalled or was cancelled."""
        blocks = BlockWriter(self._write)
        try:
            try:
                await self._pass_on(chunks, blocks)
            except (ClientDisconnect, TimeoutError, asyncio.CancelledError) as error:
                await blocks.flush()
                await run_to_end(self._checkpoint_unless_checksum)
                if isinstance(error, TimeoutError):
                    raise self._timeout_error() from error
                raise
            await blocks.flush()
            await run_to_end(self._end)
        finally:
            await blocks.stop()

    async def _pass_on(self, chunks: AsyncIterator[bytes], blocks: BlockWriter) -> None:
        """Write all chunks. Raises TimeoutError when no chunk comes for too long."""
        idle, now = self._platform.settings.upload_idle_seconds, asyncio.get_running_loop().time
        received = self._file.position
        async with asyncio.timeout(None) as silence:
            while True:
                # The timeout runs only while waiting for the client, not while writing to the disk.
                silence.reschedule(now() + idle)
                chunk = await anext(chunks, None)
                silence.reschedule(None)
                if chunk is None:
                    return
                received += len(chunk)
                if received > self.record.length:
                    raise _too_long(self.record)
                await blocks.add(chunk)

    def _timeout_error(self) -> HTTPException:
        idle = self._platform.settings.upload_idle_seconds
        detail = f"Nothing came for {idle:g} seconds; go on at byte {self.record.offset:,}."
        return HTTPException(408, detail, headers={"Connection": "close"})

    def _write(self, data: bytes | bytearray) -> None:
        if self._hash is not None:
            self._hash.update(data)
        self._file.write(data)
        pending = self._file.position - self.record.offset
        if pending >= CHECKPOINT_BYTES or time.monotonic() - self._checkpoint_at >= CHECKPOINT_SECONDS:
            self._checkpoint_unless_checksum()

    def _checkpoint_unless_checksum(self) -> None:
        """Store the offset, unless the piece has a checksum, which must be verified first."""
        if self._checksum is None:
            self._checkpoint()

    def _checkpoint(self) -> None:
        # First the bytes to the disk, then the offset to the catalog: it must never be ahead of the file.
        offset = self._file.sync()
        self._checkpoint_at = time.monotonic()
        if offset != self.record.offset:
            seconds = self._platform.settings.upload_expiry_seconds
            self.record = resumables.advance(
                self._platform.catalog, self.record, offset=offset, seconds=seconds
            )
        self._file.checkpoint()

    def _end(self) -> None:
        checksum = self._checksum
        if checksum is not None and self._hash is not None and self._hash.digest() != checksum.digest:
            raise HTTPException(
                460, f"The piece does not have its {checksum.algorithm} checksum; send it again."
            )
        self._checkpoint()


def _get(platform: Platform, tenant: str, dataset: str, resumable: str) -> ResumableRecord:
    record = resumables.get(platform.catalog, tenant=tenant, dataset_id=dataset, resumable_id=resumable)
    if record.state == ResumableState.EXPIRED or (record.expired and record.state == ResumableState.OPEN):
        raise HTTPException(410, "The rest of this upload did not come in time; start a new upload.")
    return record


def _locked(platform: Platform, stack: ExitStack, resumable: str) -> PartialUpload | None:
    """Return the partial file, locked for this request; None where it has become an object."""
    try:
        return stack.enter_context(platform.partial_uploads.open(resumable))
    except BusyError as error:
        raise HTTPException(423, str(error), headers={"Retry-After": "1"}) from error
    except NotFoundError:
        return None


def _too_long(record: ResumableRecord) -> LimitExceededError:
    return LimitExceededError(
        f"the upload was announced with {record.length:,} bytes, {record.offset:,} of which are here; "
        "this piece is longer than the rest"
    )


def _complete(platform: Platform, record: ResumableRecord) -> ResumableRecord:
    """Register a file that has arrived completely. It is idempotent, also when two requests do it at once."""
    upload = uploads.of_task(platform.catalog, upload_id=record.upload_id)
    path = paths.upload(record.dataset_id, record.id)
    stored = None if upload.object_path == path else _stored(platform, record.id, path)
    if stored is not None:
        try:
            _check(record, stored)
            submit_uploads.register_upload(
                platform, tenant=record.tenant, upload_id=record.upload_id, stored=stored
            )
        except (ConflictError, NotFoundError, HTTPException) as error:
            platform.objects.delete(path)
            resumables.remove(platform.catalog, resumable_id=record.id)
            uploads.fail(platform.catalog, tenant=record.tenant, upload_id=record.upload_id, error=str(error))
            raise
    resumables.complete(platform.catalog, resumable_id=record.id)
    return record


def _stored(platform: Platform, token: str, path: str) -> StoredObject | None:
    """Return the object that the partial file became; None where it is registered and deleted."""
    try:
        return platform.partial_uploads.finish(token, path)
    except NotFoundError:
        pass
    try:
        digest, size = hashlib.sha256(), 0
        for chunk in platform.objects.chunks(path):
            digest.update(chunk)
            size += len(chunk)
    except NotFoundError:
        return None
    return StoredObject(path, size, digest.hexdigest())


def _check(record: ResumableRecord, stored: StoredObject) -> None:
    if record.sha256 not in (None, stored.sha256):
        raise HTTPException(
            460, f"The file has SHA-256 {stored.sha256}, not the one announced; send it again from the start."
        )
