"""embed: the images of a shard → float16 [n, D] of unit norm; zeros, and a report, where that fails."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from cocu.datasets.images import load_image
from cocu.encoders.encoder import Encoder
from cocu.encoders.pipeline import embed_stream
from cocu.platform import Platform
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import rejections, retries, samples
from cocu.storage.catalog.samples import ShardRecord
from cocu.storage.catalog.states import Outcome
from cocu.workers.leases import Lease
from cocu.workers.measures import measures

FAILED = "embedding_failed"
"""Reason code of a sample that was accepted but has no embedding, and so no archive."""


def run(lease: Lease) -> None:
    """Embeds a shard for one encoder, for every curation that will need it."""
    platform, chunk = lease.platform, lease.chunk
    path = paths.embeddings(chunk.dataset_id, chunk.scope, chunk.subject)
    known = platform.objects.exists(path)
    if known and not chunk.asked:
        return
    shard = samples.shard(platform.catalog, dataset_id=chunk.dataset_id, shard_id=chunk.subject)
    table = tables.read_table(
        platform.objects, paths.samples(chunk.dataset_id, chunk.subject), columns=["key", "offset", "size"]
    )
    if known:
        _mend(lease, shard, table, path)
        return
    encoder = _encoder(lease)
    embeddings_ND = np.zeros((shard.samples, encoder.dim), np.float16)
    fingerprints_N = np.zeros(shard.samples, np.uint64)
    failed = _embed(lease, shard, table, range(shard.samples), embeddings_ND, fingerprints_N)
    rejections.replace_failures(
        platform.catalog,
        tenant=chunk.tenant,
        dataset_id=chunk.dataset_id,
        upload_id=shard.upload_id,
        shard_id=shard.id,
        scope=chunk.scope,
        new=failed,
    )
    fingerprints_path = paths.fingerprints(chunk.dataset_id, chunk.scope, chunk.subject)
    arrays.write_arrays(platform.objects, fingerprints_path, {"fingerprints_N": fingerprints_N})
    # Last: where this file is, everything before it is done.
    arrays.write_embeddings(platform.objects, path, embeddings_ND)


def _mend(lease: Lease, shard: ShardRecord, table: pa.Table, path: str) -> None:
    """Embeds those samples again that have no embedding; the others keep theirs to the bit."""
    platform, chunk = lease.platform, lease.chunk
    wanted = retries.unembedded(
        platform.catalog, dataset_id=chunk.dataset_id, shard_id=chunk.subject, scope=chunk.scope
    )
    rows = [row for row, key in enumerate(table["key"].to_pylist()) if key in wanted]
    fingerprints_path = paths.fingerprints(chunk.dataset_id, chunk.scope, chunk.subject)
    fingerprints_N = arrays.read_arrays(platform.objects, fingerprints_path)["fingerprints_N"].copy()
    embeddings_ND = arrays.read_embeddings(platform.objects, path).copy()
    failed = _embed(lease, shard, table, rows, embeddings_ND, fingerprints_N)
    if len(failed) < len(rows):
        arrays.write_arrays(platform.objects, fingerprints_path, {"fingerprints_N": fingerprints_N})
        arrays.write_embeddings(platform.objects, path, embeddings_ND)
    retries.mended(
        platform.catalog,
        chunk=chunk,
        upload_id=shard.upload_id,
        failed=failed,
        gained=len(rows) - len(failed),
    )


def _encoder(lease: Lease) -> Encoder:
    scope = lease.chunk.scope
    return lease.platform.encoders.require(name=scope[: paths.HASH_CHARACTERS], hash=scope)


def _embed(
    lease: Lease,
    shard: ShardRecord,
    table: pa.Table,
    rows: Sequence[int],
    embeddings_ND: NDArray[np.float16],
    fingerprints_N: NDArray[np.uint64],
) -> list[rejections.NewRejection]:
    """Fills in the embeddings and fingerprints of these rows; returns those on which that failed."""
    sizes_N = table["size"].to_numpy()
    failed = [_without_picture(table["key"][row].as_py()) for row in rows if not sizes_N[row]]
    lease.advance(len(failed))
    pictured = [row for row in rows if sizes_N[row]]
    with _Images(lease.platform, shard, table) as images:
        stream = embed_stream(
            _encoder(lease), pictured, load=images.load, threads=lease.platform.settings.cores
        )
        for result in stream:
            if result.embedding is not None and result.fingerprint is not None:
                embeddings_ND[result.item] = result.embedding
                fingerprints_N[result.item] = result.fingerprint
            else:
                key = table["key"][result.item].as_py()
                failed.append(
                    rejections.NewRejection(
                        reason=FAILED, key=key, detail=str(result.error), outcome=Outcome.FAILED
                    )
                )
            lease.advance(1)
    measures().rejected(Outcome.FAILED, len(failed))
    return failed


def _without_picture(key: str) -> rejections.NewRejection:
    detail = "it came as an embedding of another encoder, without the picture that this one would need"
    return rejections.NewRejection(reason=retries.NO_PICTURE, key=key, detail=detail, outcome=Outcome.FAILED)


class _Images:
    """The pictures of a shard, read at their places in its tar; from many threads."""

    def __init__(self, platform: Platform, shard: ShardRecord, table: pa.Table) -> None:
        self._path = platform.objects.local_path(paths.shard(shard.dataset_id, shard.id))
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
        return load_image(data, limits=self._limits)
