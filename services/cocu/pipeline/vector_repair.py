"""A folder of vectors that has lost samples: their `index` is planned anew, by the platform itself.

It may have been deleted or damaged, or have been written by an earlier version, whose engine was another. A
server is left to whoever runs it: it may be on the way back, with all it had.
"""

from __future__ import annotations

import logging

from cocu.catalog import vector_state, vector_tasks
from cocu.catalog.tasks import TaskRef
from cocu.catalog.vector_state import IndexedDataset
from cocu.platform import Platform

logger = logging.getLogger(__name__)


class VectorRepair:
    """Compares the folder with the catalog: once, and again when the store says that it has lost some."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lost: int | None = None
        self._unsettled: set[tuple[str, str]] = set()

    def look(self) -> list[TaskRef]:
        """Plan to put in again what is missing; the tasks to enqueue. Raises UnavailableError."""
        settings = self._platform.settings
        if not settings.embedded or "://" in settings.vectors_url:
            return []
        everything = self._lost != self._platform.lost_vectors
        if not everything and not self._unsettled:
            return []
        expected = [
            dataset
            for dataset in vector_state.indexed_datasets(self._platform.catalog)
            if everything or (dataset.dataset_id, dataset.encoder_hash) in self._unsettled
        ]
        # Where nothing is indexed, the store is not opened for that. What is lost from now on is looked for
        # at the next look.
        lost = self._platform.vectors.lost if expected else self._platform.lost_vectors
        missing = {dataset: dataset.samples - self._count(dataset) for dataset in expected}
        task_refs = self._put_again({dataset: samples for dataset, samples in missing.items() if samples > 0})
        # While others are being put there, their samples may stand in for some that are lost.
        self._unsettled = {
            (dataset.dataset_id, dataset.encoder_hash) for dataset in expected if dataset.unfinished
        }
        self._lost = lost
        return task_refs

    def _count(self, dataset: IndexedDataset) -> int:
        return self._platform.vectors.count(
            encoder=dataset.encoder_hash, tenant=dataset.tenant, dataset=dataset.dataset_id
        )

    def _put_again(self, missing: dict[IndexedDataset, int]) -> list[TaskRef]:
        if not missing:
            return []
        task_refs = [
            task_ref
            for dataset in missing
            for task_ref in vector_tasks.index_again(self._platform.catalog, dataset)
        ]
        logger.warning(
            "%d of %d samples of %d datasets are not in the folder of vectors; %d shards are put there again "
            "from the files",
            sum(missing.values()),
            sum(dataset.samples for dataset in missing),
            len({dataset.dataset_id for dataset in missing}),
            len(task_refs),
        )
        return task_refs
