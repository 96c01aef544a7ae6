"""embed: the images of a shard → float16 [n, D] of unit norm; zeros, and a report, where that fails."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
from PIL import Image

from cocu.datasets.images import load_image
from cocu.encoders.pipeline import embed_stream
from cocu.platform import Platform
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import rejections, samples
from cocu.storage.catalog.samples import ShardRecord
from cocu.storage.catalog.states import Outcome
from cocu.workers.leases import Lease

FAILED = "embedding_failed"
"""Reason code of a sample that was accepted but has no embedding, and so no archive."""


def run(lease: Lease) -> None:
    """Embeds a shard for one encoder, for every curation that will need it."""
    platform, chunk = lease.platform, lease.chunk
    path = paths.embeddings(chunk.dataset_id, chunk.scope, chunk.subject)
    if platform.objects.exists(path):
        return
    encoder = platform.encoders.require(name=chunk.scope[: paths.HASH_CHARACTERS], hash=chunk.scope)
    shard = samples.shard(platform.catalog, dataset_id=chunk.dataset_id, shard_id=chunk.subject)
    table = tables.read_table(
        platform.objects, paths.samples(chunk.dataset_id, chunk.subject), columns=["key", "offset", "size"]
    )
    embeddings_ND = np.zeros((shard.samples, encoder.dim), np.float16)
    fingerprints_N = np.zeros(shard.samples, np.uint64)
    failed: list[rejections.NewRejection] = []
    with _Images(platform, shard, table) as images:
        stream = embed_stream(encoder, range(shard.samples), load=images.load, threads=usable_cores())
        for row, result in enumerate(stream):
            if result.embedding is not None and result.fingerprint is not None:
                embeddings_ND[row] = result.embedding
                fingerprints_N[row] = result.fingerprint
            else:
                key = table["key"][row].as_py()
                failed.append(
                    rejections.NewRejection(
                        reason=FAILED, key=key, detail=str(result.error), outcome=Outcome.FAILED
                    )
                )
            lease.advance(1)
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


def usable_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


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
