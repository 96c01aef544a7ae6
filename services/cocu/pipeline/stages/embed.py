"""embed: the images of a shard → float16 [n, D] of unit norm; zeros and a rejection where that fails."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from cocu.catalog import failed_rows, rejections, samples
from cocu.catalog.samples import ShardRecord
from cocu.catalog.states import Outcome
from cocu.encoders.encoder import Encoder
from cocu.encoders.pipeline import embed_stream
from cocu.formats.images import load_image
from cocu.pipeline.lease import Lease
from cocu.pipeline.metrics import metrics
from cocu.platform import Platform
from cocu.storage import arrays, image_hashes, paths, tables

FAILED = "embedding_failed"
"""Reason code of a sample that was accepted but has no embedding, and so no archive."""


def run(lease: Lease) -> None:
    """Embed a shard with one encoder, once for all curations with this encoder."""
    platform, task = lease.platform, lease.task
    path = paths.embeddings(task.dataset_id, task.owner_key, task.target)
    is_embedded = platform.objects.exists(path)
    if is_embedded and not task.requested:
        return
    shard = samples.shard(platform.catalog, dataset_id=task.dataset_id, shard_id=task.target)
    table = tables.read_table(
        platform.objects,
        paths.samples(task.dataset_id, task.target),
        columns=["key", "offset", "size", "sha256"],
    )
    if is_embedded:
        _embed_missing(lease, shard, table, path)
        return
    encoder = _encoder(lease)
    embeddings_ND = np.zeros((shard.samples, encoder.dim), np.float16)
    phashes_N = np.zeros(shard.samples, np.uint64)
    failed = _embed(lease, shard, table, range(shard.samples), embeddings_ND, phashes_N)
    rejections.replace_failures(
        platform.catalog,
        tenant=task.tenant,
        dataset_id=task.dataset_id,
        upload_id=shard.upload_id,
        shard_id=shard.id,
        owner_key=task.owner_key,
        new=failed,
    )
    phashes_path = paths.phashes(task.dataset_id, task.owner_key, task.target)
    arrays.write_arrays(platform.objects, phashes_path, {"fingerprints_N": phashes_N})
    # Written last: if this file exists, a new attempt takes the shard as done.
    arrays.write_embeddings(platform.objects, path, embeddings_ND)


def _embed_missing(lease: Lease, shard: ShardRecord, table: pa.Table, path: str) -> None:
    """Embed again the samples that have no embedding; the other embeddings stay the same bit for bit."""
    platform, task = lease.platform, lease.task
    unembedded_keys = failed_rows.unembedded(
        platform.catalog, dataset_id=task.dataset_id, shard_id=task.target, owner_key=task.owner_key
    )
    rows = [row for row, key in enumerate(table["key"].to_pylist()) if key in unembedded_keys]
    phashes_path = paths.phashes(task.dataset_id, task.owner_key, task.target)
    phashes_N = arrays.read_arrays(platform.objects, phashes_path)["fingerprints_N"].copy()
    embeddings_ND = arrays.read_embeddings(platform.objects, path).copy()
    failed = _embed(lease, shard, table, rows, embeddings_ND, phashes_N)
    # A crash between these writes does no harm: the rows stay reported as failed until `reembedded`, so the
    # next attempt embeds the same rows again.
    if len(failed) < len(rows):
        arrays.write_arrays(platform.objects, phashes_path, {"fingerprints_N": phashes_N})
        arrays.write_embeddings(platform.objects, path, embeddings_ND)
    failed_rows.reembedded(
        platform.catalog,
        task=task,
        upload_id=shard.upload_id,
        failed=failed,
        gained=len(rows) - len(failed),
    )


def _encoder(lease: Lease) -> Encoder:
    owner_key = lease.task.owner_key
    return lease.platform.encoders.require(name=owner_key[: paths.HASH_CHARACTERS], hash=owner_key)


def _embed(
    lease: Lease,
    shard: ShardRecord,
    table: pa.Table,
    rows: Sequence[int],
    embeddings_ND: NDArray[np.float16],
    phashes_N: NDArray[np.uint64],
) -> list[rejections.NewRejection]:
    """Fill in the embeddings and perceptual hashes of these rows; return the rows that failed."""
    sizes_N = table["size"].to_numpy()
    failed = [_without_image(table["key"][row].as_py()) for row in rows if not sizes_N[row]]
    lease.advance(len(failed))
    rows_with_image = [row for row in rows if sizes_N[row]]
    with _Images(lease.platform, shard, table) as images:
        stream = embed_stream(
            _encoder(lease), rows_with_image, load=images.load, threads=lease.platform.settings.cores
        )
        for result in stream:
            if result.embedding is not None and result.phash is not None:
                embeddings_ND[result.item] = result.embedding
                phashes_N[result.item] = result.phash
            else:
                key = table["key"][result.item].as_py()
                failed.append(
                    rejections.NewRejection(
                        reason=FAILED, key=key, detail=str(result.error), outcome=Outcome.FAILED
                    )
                )
            lease.advance(1)
    metrics().rejected(Outcome.FAILED, len(failed))
    return failed


def _without_image(key: str) -> rejections.NewRejection:
    detail = "it came as an embedding of another encoder, without the image that this one would need"
    return rejections.NewRejection(
        reason=failed_rows.NO_IMAGE, key=key, detail=detail, outcome=Outcome.FAILED
    )


class _Images:
    """The images of a shard, read at their offsets in its tar; safe to use from many threads."""

    def __init__(self, platform: Platform, shard: ShardRecord, table: pa.Table) -> None:
        self._name = paths.shard(shard.dataset_id, shard.id)
        self._path = platform.objects.local_path(self._name)
        self._hashes = table["sha256"]
        self._offsets = table["offset"].to_numpy()
        self._sizes = table["size"].to_numpy()
        self._limits = platform.limits

    def __enter__(self) -> _Images:
        self._file = os.open(self._path, os.O_RDONLY)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def load(self, row: int) -> Image.Image:
        data = os.pread(self._file, int(self._sizes[row]), int(self._offsets[row]))
        image_hashes.check_one(self._name, row, data, self._hashes[row].as_py())
        return load_image(data, limits=self._limits)
