"""Taking in an upload piece by piece: append what arrives, note how much is safe, register it at the end.

The catalog's offset is what counts. It grows after the bytes are on disk, every NOTE_BYTES or NOTE_SECONDS,
and when the connection ends, however it ends; a piece with a checksum counts whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cocu.api.tus import Checksum
from cocu.datasets.options import DEFAULT_OPTIONS, ReadOptions
from cocu.errors import ConflictError, LimitExceededError, NotFoundError
from cocu.platform import Platform
from cocu.storage import paths
from cocu.storage.blocks import BlockWriter
from cocu.storage.catalog import resumables, uploads
from cocu.storage.catalog.resumables import ResumableRecord
from cocu.storage.catalog.states import ResumableState, UploadState
from cocu.storage.growing import BusyError, GrowingFile
from cocu.storage.objects import StoredObject
from cocu.workers import arrivals

NOTE_BYTES = 64 << 20
NOTE_SECONDS = 2.0


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
    platform.growing.create(record.id)
    return _complete(platform, record) if record.complete else record


def look(platform: Platform, *, tenant: str, dataset: str, resumable: str) -> ResumableRecord:
    """How far it is. Registers one whose last byte had arrived when the process died.

    Raises NotFoundError, and 410 for one whose time is over.
    """
    record = _get(platform, tenant, dataset, resumable)
    if not record.complete or record.state != ResumableState.OPEN:
        return record
    try:
        with platform.growing.writing(resumable):
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
) -> ResumableRecord:
    """Append a piece, of `size` bytes where that is known, at the offset where the upload goes on.

    Raises NotFoundError, 410, 423 while another request sends, ConflictError at another offset,
    LimitExceededError beyond the announced length, 460 when the piece does not have its checksum.
    """
    await run_in_threadpool(_get, platform, tenant, dataset, resumable)
    with ExitStack() as stack:
        file = await run_in_threadpool(_locked, platform, stack, resumable)
        # Read again: only who has the lock knows that nobody else moves the offset.
        record = await run_in_threadpool(_get, platform, tenant, dataset, resumable)
        if offset != record.offset:
            raise ConflictError(f"the upload goes on at byte {record.offset:,}, not at {offset:,}")
        if size is not None and offset + size > record.length:
            raise _too_long(record)
        if record.state != ResumableState.OPEN:
            return record
        assert file is not None
        await run_in_threadpool(file.begin, offset)
        piece = _Piece(platform, record, file, checksum)
        await piece.receive(chunks)
        record = piece.record
        return await run_in_threadpool(_complete, platform, record) if record.complete else record


def terminate(platform: Platform, *, tenant: str, dataset: str, resumable: str) -> None:
    """End an upload before it is complete, or forget that a complete one came in pieces.

    Raises NotFoundError, 410, 423 while a request sends.
    """
    record = _get(platform, tenant, dataset, resumable)
    with ExitStack() as stack:
        _locked(platform, stack, resumable)
        platform.growing.discard(resumable)
        resumables.remove(platform.catalog, resumable_id=resumable)
    if record.state == ResumableState.OPEN:
        uploads.fail(
            platform.catalog, tenant=tenant, upload_id=record.upload_id, error="ended by the one who sent it"
        )


class _Piece:
    """One request's part of an upload."""

    def __init__(
        self, platform: Platform, record: ResumableRecord, file: GrowingFile, checksum: Checksum | None
    ) -> None:
        self.record = record
        self._platform, self._file, self._checksum = platform, file, checksum
        self._hash = None if checksum is None else checksum.started()
        self._noted_at = time.monotonic()

    async def receive(self, chunks: AsyncIterator[bytes]) -> None:
        """Take all that comes; what came before a connection broke off or fell silent stays."""
        blocks = BlockWriter(self._write)
        try:
            try:
                await self._pass_on(chunks, blocks)
            except (ClientDisconnect, TimeoutError) as error:
                await blocks.flush()
                await run_in_threadpool(self._keep)
                if isinstance(error, TimeoutError):
                    raise self._silent() from error
                raise
            await blocks.flush()
            await run_in_threadpool(self._end)
        finally:
            await blocks.stop()

    async def _pass_on(self, chunks: AsyncIterator[bytes], blocks: BlockWriter) -> None:
        """Raises TimeoutError when nothing comes for too long; the disk may take its time."""
        idle, now = self._platform.settings.upload_idle_seconds, asyncio.get_running_loop().time
        came = self._file.position
        async with asyncio.timeout(None) as silence:
            while True:
                silence.reschedule(now() + idle)
                chunk = await anext(chunks, None)
                silence.reschedule(None)
                if chunk is None:
                    return
                came += len(chunk)
                if came > self.record.length:
                    raise _too_long(self.record)
                await blocks.add(chunk)

    def _silent(self) -> HTTPException:
        idle = self._platform.settings.upload_idle_seconds
        detail = f"Nothing came for {idle:g} seconds; go on at byte {self.record.offset:,}."
        return HTTPException(408, detail, headers={"Connection": "close"})

    def _write(self, data: bytes | bytearray) -> None:
        if self._hash is not None:
            self._hash.update(data)
        self._file.write(data)
        unnoted = self._file.position - self.record.offset
        if unnoted >= NOTE_BYTES or time.monotonic() - self._noted_at >= NOTE_SECONDS:
            self._keep()

    def _keep(self) -> None:
        """Make what came so far count, unless it waits for its checksum."""
        if self._checksum is None:
            self._note()

    def _note(self) -> None:
        offset = self._file.sync()
        self._noted_at = time.monotonic()
        if offset != self.record.offset:
            seconds = self._platform.settings.upload_expiry_seconds
            self.record = resumables.advance(
                self._platform.catalog, self.record, offset=offset, seconds=seconds
            )
        self._file.noted()

    def _end(self) -> None:
        said = self._checksum
        if said is not None and self._hash is not None and self._hash.digest() != said.digest:
            raise HTTPException(460, f"The piece does not have its {said.algorithm} checksum; send it again.")
        self._note()


def _get(platform: Platform, tenant: str, dataset: str, resumable: str) -> ResumableRecord:
    record = resumables.get(platform.catalog, tenant=tenant, dataset_id=dataset, resumable_id=resumable)
    if record.state == ResumableState.EXPIRED or (record.expired and record.state == ResumableState.OPEN):
        raise HTTPException(410, "The rest of this upload did not come in time; begin it anew.")
    return record


def _locked(platform: Platform, stack: ExitStack, resumable: str) -> GrowingFile | None:
    """The growing file for this request alone; None where it has become an object."""
    try:
        return stack.enter_context(platform.growing.writing(resumable))
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
    """Register the file of which every byte is here. Doing it twice, also at once, changes nothing."""
    upload = uploads.of_chunk(platform.catalog, upload_id=record.upload_id)
    path = paths.upload(record.dataset_id, record.id)
    stored = None if upload.object_path == path else _stored(platform, record.id, path)
    if stored is not None:
        try:
            _check(record, stored)
            arrivals.register(platform, tenant=record.tenant, upload_id=record.upload_id, stored=stored)
        except (ConflictError, NotFoundError, HTTPException) as error:
            platform.objects.delete(path)
            resumables.remove(platform.catalog, resumable_id=record.id)
            uploads.fail(platform.catalog, tenant=record.tenant, upload_id=record.upload_id, error=str(error))
            raise
    resumables.complete(platform.catalog, resumable_id=record.id)
    return record


def _stored(platform: Platform, token: str, path: str) -> StoredObject | None:
    """The object that the growing file becomes, or has become; None where it was registered and used up."""
    try:
        return platform.growing.finish(token, path)
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
