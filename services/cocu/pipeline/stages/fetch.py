"""fetch: read a file from its URL, or rows whose images failed, and make it the file of an upload."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from cocu import machine
from cocu.catalog import failed_rows, imports, quotas, uploads
from cocu.catalog.records import new_id
from cocu.catalog.states import UploadState
from cocu.catalog.uploads import UploadRecord
from cocu.errors import ConflictError, InvalidInputError, LimitExceededError, NotFoundError
from cocu.formats.embeddings import table_of
from cocu.formats.shards import pack_files
from cocu.pipeline import retry_table, submit_uploads
from cocu.pipeline.lease import Lease
from cocu.storage import buckets, paths

PROGRESS_SECONDS = 1.0
"""The number of received bytes is stored at most once in this time."""


def run(lease: Lease) -> None:
    """Fetch the file of an upload and plan its ingest. A new attempt starts from the first byte.

    Errors that would come again (refused, too large, other content under the name) fail the task at once.
    """
    platform = lease.platform
    upload = uploads.of_task(platform.catalog, upload_id=lease.task.target)
    if upload.state != UploadState.RECEIVING or upload.source is None:
        return
    settings = platform.settings
    try:
        table = table_of(upload.source) if "encoder" in upload.options else None
        opened = (
            _opened(lease, upload, upload.source)
            if table is None
            else _packed(lease, upload, upload.source, table)
        )
        with opened as chunks:
            # Every attempt writes an object of its own: a worker that lost its lease may still be writing.
            stored = platform.objects.put_chunks(
                paths.upload(upload.dataset_id, new_id()),
                _with_progress(lease, upload, chunks),
                max_bytes=settings.max_upload_bytes,
            )
        submit_uploads.register_upload(
            platform,
            tenant=upload.tenant,
            upload_id=upload.id,
            stored=stored,
            max_tenant_bytes=settings.max_tenant_bytes,
        )
    except (LimitExceededError, ConflictError, NotFoundError) as error:
        raise InvalidInputError(str(error)) from error


@contextmanager
def _opened(lease: Lease, upload: UploadRecord, source: str) -> Iterator[Iterator[bytes]]:
    platform = lease.platform
    settings = platform.settings
    if source == failed_rows.SOURCE:
        yield retry_table.parquet_file(platform, upload_id=upload.id)
        return
    if source.startswith("s3://"):
        yield buckets.read(source, allowed=settings.import_buckets)
        return
    with platform.fetcher(max_bytes=settings.max_upload_bytes).open(source) as fetched:
        quotas.check_room(
            platform.catalog,
            tenant=upload.tenant,
            size=fetched.size or 0,
            limit=settings.max_tenant_bytes,
        )
        yield fetched.chunks


@contextmanager
def _packed(lease: Lease, upload: UploadRecord, vectors: str, table: str) -> Iterator[Iterator[bytes]]:
    """Yield the embeddings and the table that belongs to them as one tar."""
    settings = lease.platform.settings
    remaining_bytes = settings.max_upload_bytes
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for folder, source in (("img_emb", vectors), ("metadata", table)):
            file = stack.enter_context(machine.temporary_file(settings.data_folder))
            with _opened(lease, upload, source) as chunks:
                for chunk in chunks:
                    remaining_bytes -= file.write(chunk)
                    if remaining_bytes < 0:
                        raise LimitExceededError(
                            f"{vectors} and {table} have more than {settings.max_upload_bytes} bytes"
                        )
                    lease.advance()
            files[f"{folder}/{source.rpartition('/')[2]}"] = file
        yield pack_files(files)


def _with_progress(lease: Lease, upload: UploadRecord, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks, and store how many bytes were received now and then."""
    received, stored_at = 0, time.monotonic()
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        lease.advance()
        if time.monotonic() - stored_at >= PROGRESS_SECONDS:
            imports.note_received(lease.platform.catalog, upload_id=upload.id, received=received)
            stored_at = time.monotonic()
