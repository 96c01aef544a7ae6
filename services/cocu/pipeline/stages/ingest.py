"""ingest: an uploaded file → clean shards of at most 10,000 samples, and rejections with their reasons."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cocu import machine
from cocu.catalog import uploads
from cocu.catalog.rejections import NewRejection
from cocu.catalog.samples import NewShard
from cocu.catalog.states import Outcome, UploadState
from cocu.catalog.uploads import UploadRecord
from cocu.encoders.registry import EncoderDescription
from cocu.errors import IntegrityError, InvalidInputError, NotFoundError
from cocu.formats.http_fetch import Fetcher
from cocu.formats.options import ReadOptions
from cocu.formats.reading import RawSample, Reading, open_reading
from cocu.formats.rejections import Reason, Rejection
from cocu.formats.shards import write_shard
from cocu.pipeline import ingest_result
from cocu.pipeline.lease import Lease, TaskStoppedError
from cocu.pipeline.metrics import metrics
from cocu.pipeline.sample_keys import EarlierSamples
from cocu.platform import Platform
from cocu.storage import arrays, durable, paths, tables

READ_BYTES = 1 << 20

IMAGE_SECONDS = 30.0
"""How long the download of one image may take."""
FETCH_THREADS = 16
"""The number of images downloaded at the same time."""

BATCH = 256
"""The number of samples whose keys are looked up at once."""


def run(lease: Lease) -> None:
    """Turn an upload into shards.

    Shards are named by their content, so that two attempts never write different files under one name. The
    earlier upload owns a key; `store_ingested` ensures this also when the earlier upload is ingested later.
    Shards of an attempt that did not count are not deleted here, because another attempt that is about to
    count may have written the same files. Garbage collection deletes them.
    """
    platform = lease.platform
    upload = uploads.of_task(platform.catalog, upload_id=lease.task.target)
    if upload.state != UploadState.INGESTED:
        _ingest(lease, upload)
    _discard_files(platform, upload.dataset_id)


def _ingest(lease: Lease, upload: UploadRecord) -> None:
    platform = lease.platform
    if upload.object_path is None:
        raise NotFoundError(f"the file of upload {upload.name!r} is gone; send it again")
    rejected: list[NewRejection] = []
    shards: list[NewShard] = []
    try:
        file = platform.objects.local_path(upload.object_path)
    except NotFoundError as error:
        raise NotFoundError(f"the file of upload {upload.name!r} is gone; send it again") from error
    options = ReadOptions.from_json(upload.options)
    encoder = _encoder(platform, options)
    with (
        _errors_with_upload_name(file.name, upload),
        _verified_hash(upload, file),
        durable.scratch_folder(platform.settings.data_folder, "reading-") as scratch,
        open_reading(
            file,
            options=options,
            limits=platform.limits,
            dimensions=None if encoder is None else encoder.dim,
            scratch=scratch,
        ) as reading,
    ):
        accepted = _accepted(lease, upload, _samples(platform, reading, options), rejected)
        while (shard := _write_shard(platform, upload, accepted, encoder, number=len(shards))) is not None:
            shards.append(shard)
    task_refs = ingest_result.store_ingested(
        platform.catalog,
        task_id=lease.task.id,
        owner=lease.owner,
        upload_id=upload.id,
        shards=shards,
        rejected=rejected,
        reading={
            "format": str(reading.format),
            "columns": reading.columns.stated(),
            "notes": reading.notes.counts(),
        },
    )
    metrics().rejected(Outcome.SKIPPED, len(rejected))
    platform.enqueue(task_refs)


@contextmanager
def _errors_with_upload_name(stored: str, upload: UploadRecord) -> Iterator[None]:
    """Replace the stored name of the file in errors by the name of the upload, which the sender knows."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace(stored, upload.name), error.fields) from error


@contextmanager
def _verified_hash(upload: UploadRecord, file: Path) -> Iterator[None]:
    """Hash the file in another thread while it is read.

    Raises IntegrityError if it is not the file that arrived; this replaces an error that reading it raised.
    """
    digest, stopping = hashlib.sha256(), threading.Event()

    def hash_file() -> None:
        with file.open("rb") as content:
            while not stopping.is_set() and (chunk := content.read(READ_BYTES)):
                digest.update(chunk)

    with ThreadPoolExecutor(1, thread_name_prefix="hash") as threads:
        hashing = threads.submit(hash_file)
        try:
            yield
        except TaskStoppedError:
            stopping.set()
            raise
        except Exception:
            # A damaged file causes all kinds of errors in readers, so the hash is compared first.
            hashing.result()
            _require_hash(upload, digest.hexdigest())
            raise
        hashing.result()
    _require_hash(upload, digest.hexdigest())


def _require_hash(upload: UploadRecord, sha256: str) -> None:
    if upload.sha256 not in (None, sha256):
        raise IntegrityError(
            f"the stored file of upload {upload.name!r} is damaged: it has SHA-256 {sha256[:16]}…, not "
            f"{str(upload.sha256)[:16]}… as when it arrived; send it again"
        )


def _encoder(platform: Platform, options: ReadOptions) -> EncoderDescription | None:
    """Return the encoder that made the embeddings of the file; None for a file without embeddings."""
    try:
        return None if options.encoder is None else platform.encoders.describe(options.encoder)
    except NotFoundError as error:
        raise InvalidInputError(f"the embeddings cannot be used: {error}") from error


def _samples(platform: Platform, reading: Reading, options: ReadOptions) -> Iterator[RawSample | Rejection]:
    if not options.fetch:
        return reading.samples()
    policy = platform.fetcher(max_bytes=platform.limits.max_image_bytes).policy
    fetcher = Fetcher(replace(policy, max_seconds=IMAGE_SECONDS, pause_seconds=IMAGE_SECONDS))
    return reading.samples(threads=FETCH_THREADS, fetch=fetcher.read)


def _accepted(
    lease: Lease,
    upload: UploadRecord,
    results: Iterable[RawSample | Rejection],
    rejected: list[NewRejection],
) -> Iterator[RawSample]:
    """Yield the samples whose keys no earlier upload has; append the others to `rejected`.

    Files that are named by numbers have the same keys in every dataset. So a sample that differs from the
    earlier one with its key gets a key made of its content. A sample that is the same is rejected.
    """
    assert upload.ordinal is not None
    earlier = EarlierSamples(lease.platform, upload)
    renamed: set[str] = set()
    remaining = iter(results)
    while batch := list(islice(remaining, BATCH)):
        lease.advance(len(batch))
        samples = [result for result in batch if isinstance(result, RawSample)]
        contents = earlier.contents([sample.key for sample in samples])
        # A sample that differs from the earlier one with its key gets its content key. If an earlier upload
        # has that key too, it has the same sample.
        taken = earlier.contents(
            [
                sample.content_key
                for sample in samples
                if contents.get(sample.key, sample.content_key) != sample.content_key
            ]
        )
        for result in batch:
            if isinstance(result, Rejection):
                rejected.append(_rejection(result))
            elif result.key not in contents:
                yield result
            elif contents[result.key] == result.content_key or result.content_key in taken.keys() | renamed:
                detail = "an earlier upload has this key, and the sample is the same"
                rejected.append(NewRejection(reason=Reason.DUPLICATE_KEY, key=result.key, detail=detail))
            else:
                renamed.add(result.content_key)
                yield replace(result, key=result.content_key)


def _rejection(rejection: Rejection) -> NewRejection:
    return NewRejection(
        reason=rejection.reason,
        key=rejection.key,
        member=rejection.member,
        detail=rejection.detail,
        link=rejection.link,
    )


def _write_shard(
    platform: Platform,
    upload: UploadRecord,
    accepted: Iterator[RawSample],
    encoder: EncoderDescription | None,
    *,
    number: int,
) -> NewShard | None:
    with machine.temporary_file(platform.settings.data_folder) as file:
        rows = write_shard(accepted, file, limits=platform.limits)
        if not rows:
            return None
        embeddings = [row.embedding for row in rows if row.embedding is not None]
        sha256, size = _hash_and_size(file, embeddings)
        shard_id = f"{upload.ordinal:06d}-{number:04d}-{sha256[:16]}"
        file.seek(0)
        platform.objects.put_file(paths.shard(upload.dataset_id, shard_id), file)
    table = tables.samples_table(rows)
    tables.write_table(platform.objects, paths.samples(upload.dataset_id, shard_id), table)
    if encoder is not None:
        _write_embeddings(platform, upload.dataset_id, shard_id, encoder, np.stack(embeddings))
    return NewShard(id=shard_id, keys=tuple(row.key for row in rows), bytes=size, sha256=sha256)


def _write_embeddings(
    platform: Platform,
    dataset_id: str,
    shard_id: str,
    encoder: EncoderDescription,
    embeddings_ND: NDArray[np.float16],
) -> None:
    """Write the files of stage `embed` for this encoder; the stage then finds them and does nothing."""
    # Not used: without an image, duplicates are found by the embeddings alone.
    phashes = {"fingerprints_N": np.zeros(len(embeddings_ND), np.uint64)}
    path = paths.phashes(dataset_id, encoder.hash, shard_id)
    arrays.write_arrays(platform.objects, path, phashes)
    path = paths.embeddings(dataset_id, encoder.hash, shard_id)
    arrays.write_embeddings(platform.objects, path, embeddings_ND)


def _hash_and_size(file: IO[bytes], embeddings: Iterable[NDArray[np.float16]]) -> tuple[str, int]:
    """Return the SHA-256 of a tar and the embeddings of its samples, and the size of the tar in bytes."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    size = file.tell()
    for embedding_D in embeddings:
        digest.update(embedding_D.tobytes())
    return digest.hexdigest(), size


def _discard_files(platform: Platform, dataset_id: str) -> None:
    """Delete the files of uploads that will never be ingested again: all earlier uploads are ingested."""
    for upload in uploads.discardable(platform.catalog, dataset_id=dataset_id):
        assert upload.object_path is not None
        with suppress(NotFoundError):
            platform.objects.delete(upload.object_path)
        uploads.forget_object(platform.catalog, upload_id=upload.id)
