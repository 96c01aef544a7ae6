"""fetch: a file somewhere else, or rows to be fetched again → an upload, as if it had been sent in."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from cocu.datasets.embeddings import table_of
from cocu.datasets.shards import pack_files
from cocu.errors import ConflictError, InvalidInputError, LimitExceededError, NotFoundError
from cocu.storage import buckets, paths
from cocu.storage.catalog import imports, quotas, retries, uploads
from cocu.storage.catalog.records import new_id
from cocu.storage.catalog.states import UploadState
from cocu.storage.catalog.uploads import UploadRecord
from cocu.workers import arrivals, refetch
from cocu.workers.leases import Lease

NOTE_SECONDS = 1.0


def run(lease: Lease) -> None:
    """Fetches the file of an upload and plans its ingest. An attempt that broke off begins anew.

    What trying again cannot mend (refused, too large, other content under the name) fails at once.
    """
    platform = lease.platform
    upload = uploads.of_chunk(platform.catalog, upload_id=lease.chunk.subject)
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
            # An object of its own for every attempt: a worker that lost its lease may still be writing.
            stored = platform.objects.put_chunks(
                paths.upload(upload.dataset_id, new_id()),
                _noted(lease, upload, chunks),
                max_bytes=settings.max_upload_bytes,
            )
        arrivals.register(
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
    if source == retries.SOURCE:
        yield refetch.table(platform, upload_id=upload.id)
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
    """Embeddings and the table that belongs to them as one tar, which says how large each is."""
    settings = lease.platform.settings
    room = settings.max_upload_bytes
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for folder, source in (("img_emb", vectors), ("metadata", table)):
            file = stack.enter_context(tempfile.TemporaryFile(dir=settings.data_folder))
            with _opened(lease, upload, source) as chunks:
                for chunk in chunks:
                    room -= file.write(chunk)
                    if room < 0:
                        raise LimitExceededError(
                            f"{vectors} and {table} have more than {settings.max_upload_bytes} bytes"
                        )
                    lease.advance()
            files[f"{folder}/{source.rpartition('/')[2]}"] = file
        yield pack_files(files)


def _noted(lease: Lease, upload: UploadRecord, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes as they come, with their number written down now and then."""
    received, noted = 0, time.monotonic()
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        lease.advance()
        if time.monotonic() - noted >= NOTE_SECONDS:
            imports.note_received(lease.platform.catalog, upload_id=upload.id, received=received)
            noted = time.monotonic()
