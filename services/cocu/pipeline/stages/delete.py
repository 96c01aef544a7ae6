"""delete: all data of a dataset. Its rows are deleted last, so that the task is retried after a crash."""

from __future__ import annotations

from cocu.catalog import datasets, resumables, tasks
from cocu.errors import ConflictError
from cocu.pipeline.lease import Lease
from cocu.storage import paths


def run(lease: Lease) -> None:
    """Delete a dataset. Raises ConflictError while other workers run its tasks; then it is tried again."""
    platform, dataset_id = lease.platform, lease.task.dataset_id
    if tasks.others_are_running(platform.catalog, dataset_id=dataset_id, but=lease.task.id):
        raise ConflictError("workers are still busy with the dataset")
    for curation_id in datasets.curations_of(platform.catalog, dataset_id=dataset_id):
        platform.objects.delete_prefix(paths.curation(curation_id))
        lease.advance()
    for token in resumables.of_dataset(platform.catalog, dataset_id=dataset_id):
        platform.partial_uploads.discard(token)
    # There may be millions of thumbnails: listed folder by folder, they need little memory.
    for prefix in range(256):
        platform.objects.delete_prefix(paths.thumbnails(dataset_id, f"{prefix:02x}"))
        lease.advance()
    platform.objects.delete_prefix(paths.dataset(dataset_id))
    platform.vectors.delete_dataset(tenant=lease.task.tenant, dataset=dataset_id)
    datasets.finish_deletion(platform.catalog, dataset_id=dataset_id)
