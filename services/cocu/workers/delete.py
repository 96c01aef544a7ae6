"""delete: everything that belongs to a dataset, its rows last, so that a crash in between is made good."""

from __future__ import annotations

from cocu.errors import ConflictError
from cocu.storage import paths
from cocu.storage.catalog import chunks, datasets, resumables
from cocu.workers.leases import Lease


def run(lease: Lease) -> None:
    """Deletes a dataset once no worker is busy with it; until then it fails, and is tried again."""
    platform, dataset_id = lease.platform, lease.chunk.dataset_id
    if chunks.others_running(platform.catalog, dataset_id=dataset_id, but=lease.chunk.id):
        raise ConflictError("workers are still busy with the dataset")
    for curation_id in datasets.curations_of(platform.catalog, dataset_id=dataset_id):
        platform.objects.delete_prefix(paths.curation(curation_id))
        lease.advance()
    for token in resumables.of_dataset(platform.catalog, dataset_id=dataset_id):
        platform.growing.discard(token)
    platform.objects.delete_prefix(paths.dataset(dataset_id))
    platform.vectors.delete_dataset(tenant=lease.chunk.tenant, dataset=dataset_id)
    datasets.finish_deletion(platform.catalog, dataset_id=dataset_id)
