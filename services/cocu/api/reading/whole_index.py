"""Whether the vector store holds what was put into it: no search passes over lost samples in silence."""

from __future__ import annotations

import threading
import time

from cocu.errors import UnavailableError
from cocu.platform import Platform
from cocu.storage.catalog import indexing

SECONDS = 5.0
"""How long it is believed that nothing is lost."""


class WholeIndex:
    """Compares the vector store with the catalog, once in a while for each dataset and encoder."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._believed: dict[tuple[str, str, str], float] = {}

    def require(self, *, tenant: str, dataset: str, encoder: str) -> None:
        """Raises UnavailableError where samples that were indexed are no longer there, or none was yet."""
        asked = (tenant, dataset, encoder)
        with self._lock:
            if time.monotonic() < self._believed.get(asked, 0.0):
                return
        shards = indexing.indexed_shards(
            self._platform.catalog, tenant=tenant, dataset_id=dataset, encoder_hash=encoder
        )
        expected = sum(samples for _, samples in shards)
        if not expected:
            raise UnavailableError(f"dataset {dataset} waits to be put into the vector store")
        there = self._platform.vectors.count(tenant=tenant, dataset=dataset, encoder=encoder)
        if there < expected:
            raise UnavailableError(
                f"the vector store has {there} of {expected} indexed samples of dataset {dataset}; "
                "whoever runs the platform restores them with `cocu index rebuild`"
            )
        with self._lock:
            now = time.monotonic()
            self._believed = {key: until for key, until in self._believed.items() if until > now}
            self._believed[asked] = now + SECONDS
