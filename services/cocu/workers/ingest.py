"""ingest: a file as it was sent in → clean shards of at most 10,000 samples; the rest with its reasons."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cocu.datasets.fetching import Fetcher
from cocu.datasets.options import ReadOptions
from cocu.datasets.reading import RawSample, Reading, open_reading
from cocu.datasets.rejections import Reason, Rejection
from cocu.datasets.shards import write_shard
from cocu.encoders.offered import EncoderDescription
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import samples, uploads
from cocu.storage.catalog.rejections import NewRejection
from cocu.storage.catalog.samples import NewShard
from cocu.storage.catalog.states import Outcome, UploadState
from cocu.storage.catalog.uploads import UploadRecord
from cocu.workers.leases import Lease
from cocu.workers.measures import measures

PIECE = 1 << 20

IMAGE_SECONDS = 30.0
"""How long the download of one image may take."""
FETCHES = 16
"""Images that are downloaded at the same time."""

BATCH = 256
"""Samples whose keys are looked up at once."""


def run(lease: Lease) -> None:
    """Turns an upload into shards.

    Shards are named by what is in them, so that two attempts never write different files under one name. A
    key that an earlier upload has is left out; `samples.ingested` sees to it when the earlier one is ingested
    later. Shards of an attempt that did not count stay until the dataset is deleted: deleting them here could
    hit the files of another attempt that is about to count.
    """
    platform = lease.platform
    upload = uploads.of_chunk(platform.catalog, upload_id=lease.chunk.subject)
    if upload.state != UploadState.INGESTED:
        _ingest(lease, upload)
    _discard_files(platform, upload.dataset_id)


def _ingest(lease: Lease, upload: UploadRecord) -> None:
    platform = lease.platform
    if upload.object_path is None:
        raise NotFoundError(f"the file of upload {upload.name!r} is gone; send it again")
    rejected: list[NewRejection] = []
    shards: list[NewShard] = []
    file = platform.objects.local_path(upload.object_path)
    options = ReadOptions.from_json(upload.options)
    encoder = _encoder(platform, options)
    with open_reading(
        file,
        options=options,
        limits=platform.limits,
        dimensions=None if encoder is None else encoder.dim,
        scratch=platform.settings.data_folder,
    ) as reading:
        accepted = _accepted(lease, upload, _samples(platform, reading, options), rejected)
        while (shard := _write_shard(platform, upload, accepted, encoder, number=len(shards))) is not None:
            shards.append(shard)
    planned = samples.ingested(
        platform.catalog,
        chunk_id=lease.chunk.id,
        owner=lease.owner,
        upload_id=upload.id,
        shards=shards,
        rejected=rejected,
        reading={"format": str(reading.format), "columns": reading.columns.stated()},
    )
    measures().rejected(Outcome.SKIPPED, len(rejected))
    platform.enqueue(planned)


def _encoder(platform: Platform, options: ReadOptions) -> EncoderDescription | None:
    """The encoder that made the embeddings of the file, where there are any."""
    try:
        return None if options.encoder is None else platform.encoders.describe(options.encoder)
    except NotFoundError as error:
        raise InvalidInputError(f"the embeddings cannot be used: {error}") from error


def _samples(platform: Platform, reading: Reading, options: ReadOptions) -> Iterator[RawSample | Rejection]:
    if not options.fetch:
        return reading.samples()
    policy = platform.fetcher(max_bytes=platform.limits.max_image_bytes).policy
    fetcher = Fetcher(replace(policy, max_seconds=IMAGE_SECONDS, pause_seconds=IMAGE_SECONDS))
    return reading.samples(threads=FETCHES, fetch=fetcher.read)


def _accepted(
    lease: Lease,
    upload: UploadRecord,
    found: Iterable[RawSample | Rejection],
    rejected: list[NewRejection],
) -> Iterator[RawSample]:
    """The samples whose keys no earlier upload has and this one has not had before."""
    assert upload.ordinal is not None
    seen: set[str] = set()
    remaining = iter(found)
    while batch := list(islice(remaining, BATCH)):
        lease.advance(len(batch))
        keys = [one.key for one in batch if isinstance(one, RawSample)]
        taken = samples.owned_before(
            lease.platform.catalog, dataset_id=upload.dataset_id, ordinal=upload.ordinal, keys=keys
        )
        for one in batch:
            if isinstance(one, Rejection):
                rejected.append(_rejection(one))
            elif one.key in taken or one.key in seen:
                detail = (
                    "an earlier upload has this key" if one.key in taken else "an earlier sample has this key"
                )
                rejected.append(NewRejection(reason=Reason.DUPLICATE_KEY, key=one.key, detail=detail))
            else:
                seen.add(one.key)
                yield one


def _rejection(found: Rejection) -> NewRejection:
    return NewRejection(
        reason=found.reason, key=found.key, member=found.member, detail=found.detail, link=found.link
    )


def _write_shard(
    platform: Platform,
    upload: UploadRecord,
    accepted: Iterator[RawSample],
    encoder: EncoderDescription | None,
    *,
    number: int,
) -> NewShard | None:
    with tempfile.TemporaryFile(dir=platform.settings.data_folder) as file:
        rows = write_shard(accepted, file, limits=platform.limits)
        if not rows:
            return None
        ready = [row.embedding for row in rows if row.embedding is not None]
        sha256, size = _digest(file, ready)
        shard_id = f"{upload.ordinal:06d}-{number:04d}-{sha256[:16]}"
        file.seek(0)
        platform.objects.put_file(paths.shard(upload.dataset_id, shard_id), file)
    table = tables.samples_table(rows)
    tables.write_table(platform.objects, paths.samples(upload.dataset_id, shard_id), table)
    if encoder is not None:
        _write_embeddings(platform, upload.dataset_id, shard_id, encoder, np.stack(ready))
    return NewShard(id=shard_id, keys=tuple(row.key for row in rows), bytes=size, sha256=sha256)


def _write_embeddings(
    platform: Platform,
    dataset_id: str,
    shard_id: str,
    encoder: EncoderDescription,
    embeddings_ND: NDArray[np.float16],
) -> None:
    """What `embed` would write for this encoder, which then finds it done."""
    # Nobody sees these fingerprints: without a picture only the embedding tells copies.
    fingerprints = {"fingerprints_N": np.zeros(len(embeddings_ND), np.uint64)}
    path = paths.fingerprints(dataset_id, encoder.hash, shard_id)
    arrays.write_arrays(platform.objects, path, fingerprints)
    path = paths.embeddings(dataset_id, encoder.hash, shard_id)
    arrays.write_embeddings(platform.objects, path, embeddings_ND)


def _digest(file: IO[bytes], embeddings: Iterable[NDArray[np.float16]]) -> tuple[str, int]:
    """SHA-256 of a tar, and of the embeddings that come with it; and the bytes of the tar."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    size = file.tell()
    for embedding_D in embeddings:
        digest.update(embedding_D.tobytes())
    return digest.hexdigest(), size


def _discard_files(platform: Platform, dataset_id: str) -> None:
    """Deletes the files of uploads that no earlier upload can make be ingested again."""
    for upload in uploads.discardable(platform.catalog, dataset_id=dataset_id):
        assert upload.object_path is not None
        with suppress(NotFoundError):
            platform.objects.delete(upload.object_path)
        uploads.forget_object(platform.catalog, upload_id=upload.id)
