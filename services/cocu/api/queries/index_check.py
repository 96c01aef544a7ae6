"""Check that the vector store holds every indexed sample: a search must not silently miss lost ones."""

from __future__ import annotations

import threading
import time

from cocu.catalog import vector_state
from cocu.errors import UnavailableError
from cocu.platform import Platform

CHECK_SECONDS = 5.0
"""How long a successful check counts."""


class IndexCheck:
    """Compares the vector store with the catalog, at most every CHECK_SECONDS per dataset and encoder."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._valid_until: dict[tuple[str, str, str], float] = {}

    def require(self, *, tenant: str, dataset: str, encoder: str) -> None:
        """Raise UnavailableError where indexed samples are missing, or none is indexed yet."""
        key = (tenant, dataset, encoder)
        with self._lock:
            if time.monotonic() < self._valid_until.get(key, 0.0):
                return
        shards = vector_state.indexed_shards(
            self._platform.catalog, tenant=tenant, dataset_id=dataset, encoder_hash=encoder
        )
        expected_count = sum(samples for _, samples in shards)
        if not expected_count:
            raise UnavailableError(f"dataset {dataset} is not in the vector store yet; try again later")
        stored_count = self._platform.vectors.count(tenant=tenant, dataset=dataset, encoder=encoder)
        if stored_count < expected_count:
            raise UnavailableError(
                f"the vector store has {stored_count} of {expected_count} indexed samples of dataset "
                f"{dataset}; the operator of the platform restores them with `cocu index rebuild`"
            )
        with self._lock:
            now = time.monotonic()
            self._valid_until = {other: until for other, until in self._valid_until.items() if until > now}
            self._valid_until[key] = now + CHECK_SECONDS
