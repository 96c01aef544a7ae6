"""index: the embeddings of a shard → the vector store, for search. Files are the truth; this is a copy."""

from __future__ import annotations

from cocu.storage import arrays, paths, tables
from cocu.storage.catalog import samples
from cocu.workers.leases import Lease

BATCH = 512


def run(lease: Lease) -> None:
    """Puts a shard's vectors into the collection of its encoder; doing it again replaces them by the same."""
    platform, chunk = lease.platform, lease.chunk
    path = paths.embeddings(chunk.dataset_id, chunk.scope, chunk.subject)
    embeddings_ND = arrays.read_embeddings(platform.objects, path)
    table = tables.read_table(
        platform.objects, paths.samples(chunk.dataset_id, chunk.subject), columns=["key"]
    )
    keys: list[str] = table["key"].to_pylist()
    first_row = _first_row(lease)
    platform.vectors.ensure_collection(encoder=chunk.scope, dimensions=embeddings_ND.shape[1])
    for start in range(0, len(keys), BATCH):
        part = slice(start, start + BATCH)
        platform.vectors.upsert_samples(
            encoder=chunk.scope,
            tenant=chunk.tenant,
            dataset=chunk.dataset_id,
            keys=keys[part],
            first_row=first_row + start,
            embeddings_ND=embeddings_ND[part],
        )
        lease.advance(len(keys[part]))


def _first_row(lease: Lease) -> int:
    first_row = 0
    for shard in samples.shards(
        lease.platform.catalog, tenant=lease.chunk.tenant, dataset_id=lease.chunk.dataset_id
    ):
        if shard.id == lease.chunk.subject:
            break
        first_row += shard.samples
    return first_row
