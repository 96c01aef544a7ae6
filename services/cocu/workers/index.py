"""index: the embeddings of a shard → the vector store, for search. Files are the truth; this is a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cocu.platform import Platform
from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import indexing, samples
from cocu.storage.catalog.indexing import EmbeddedShard
from cocu.storage.vectors import Filling, Vectors
from cocu.workers.leases import Lease

BATCH = 2048


@dataclass(frozen=True)
class Target:
    """Where vectors and concepts are put: methods of `Vectors` with the encoder given, or of a `Filling`."""

    upsert_samples: Callable[..., None]
    set_concepts: Callable[..., None]

    @classmethod
    def in_use(cls, vectors: Vectors, encoder_hash: str) -> Target:
        """The collection that searches of an encoder are answered from."""
        return cls(
            partial(vectors.upsert_samples, encoder=encoder_hash),
            partial(vectors.set_concepts, encoder=encoder_hash),
        )

    @classmethod
    def being_filled(cls, filling: Filling) -> Target:
        """A collection beside it."""
        return cls(filling.upsert_samples, filling.set_concepts)


def run(lease: Lease) -> None:
    """Puts a shard's vectors into the collection of its encoder; doing it again replaces them by the same."""
    platform, shard = lease.platform, _embedded_shard(lease)
    path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
    dimensions = arrays.read_embeddings(platform.objects, path).shape[1]
    # A store that is away is not to keep workers from what the curations wait for.
    platform.vectors.check()
    platform.vectors.ensure_collection(encoder=shard.encoder_hash, dimensions=dimensions)
    put_shard(platform, shard, Target.in_use(platform.vectors, shard.encoder_hash), advance=lease.advance)


def put_shard(
    platform: Platform, shard: EmbeddedShard, target: Target, *, advance: Callable[[int], None]
) -> None:
    """Puts a shard's vectors there, and then the concepts of its archives in published curations.

    advance: called with the number of samples that were put there. Raises NotFoundError, IntegrityError.
    """
    path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
    embeddings_ND = arrays.read_embeddings(platform.objects, path)
    table = tables.read_table(
        platform.objects, paths.samples(shard.dataset_id, shard.shard_id), columns=["key"]
    )
    keys: list[str] = table["key"].to_pylist()
    for start in range(0, len(keys), BATCH):
        part = slice(start, start + BATCH)
        target.upsert_samples(
            tenant=shard.tenant,
            dataset=shard.dataset_id,
            keys=keys[part],
            first_row=shard.first_row + start,
            embeddings_ND=embeddings_ND[part],
        )
        advance(len(keys[part]))
    # Asked now: a curation published before was too early for these samples, one published later sees them.
    for curation_id in indexing.archived_by(
        platform.catalog,
        dataset_id=shard.dataset_id,
        encoder_hash=shard.encoder_hash,
        shard_id=shard.shard_id,
    ):
        put_concepts(platform, shard, target, curation_id=curation_id)
        advance(0)


def put_concepts(platform: Platform, shard: EmbeddedShard, target: Target, *, curation_id: str) -> None:
    """Notes there which concepts the archives of a shard hold. Raises NotFoundError, IntegrityError."""
    table = tables.read_table(
        platform.objects, paths.archives(curation_id, shard.shard_id), columns=["key", "concepts"]
    )
    target.set_concepts(
        tenant=shard.tenant,
        dataset=shard.dataset_id,
        curation=curation_id,
        keys=table["key"].to_pylist(),
        concepts=[[one["concept"] for one in row] for row in table["concepts"].to_pylist()],
    )


def _embedded_shard(lease: Lease) -> EmbeddedShard:
    chunk, first_row = lease.chunk, 0
    listed = samples.shards(lease.platform.catalog, tenant=chunk.tenant, dataset_id=chunk.dataset_id)
    for shard in listed:
        if shard.id == chunk.subject:
            break
        first_row += shard.samples
    return EmbeddedShard(
        tenant=chunk.tenant,
        dataset_id=chunk.dataset_id,
        encoder_hash=chunk.scope,
        shard_id=chunk.subject,
        first_row=first_row,
        samples=chunk.units_total,
        revision=0,
    )
