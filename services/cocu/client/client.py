"""The typed HTTP client of the platform."""

from __future__ import annotations

from types import TracebackType

import httpx

from cocu.client.batches import Batches
from cocu.client.concepts import Comparisons, Concepts
from cocu.client.curations import Archives, Curations, Evaluations
from cocu.client.datasets import Datasets
from cocu.client.models import Health
from cocu.client.search import Search
from cocu.client.transport import Transport
from cocu.client.vocabularies import Encoders, Vocabularies


class CocuClient:
    """Talks to one platform.

        with CocuClient("http://127.0.0.1:8000") as client:
            dataset = client.datasets.create("photographs")
            client.datasets.upload(dataset.id, "photos.tar")
            curation = client.curations.create(dataset.id)
            client.curations.wait(curation.id)
            for archive in client.archives.list(curation.id, added=True):
                print(archive.key, [concept.concept for concept in archive.concepts])

    Idempotent calls are repeated (`retries` times, with growing pauses) when the connection fails or the
    platform asks to come back later; `timeout` is in seconds for each read or write. Errors: see
    `cocu.client.exceptions`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(base_url, api_key, timeout=timeout, retries=retries, transport=transport)
        self.base_url = self._transport.base_url
        self.datasets = Datasets(self._transport)
        self.vocabularies = Vocabularies(self._transport)
        self.encoders = Encoders(self._transport)
        self.curations = Curations(self._transport)
        self.archives = Archives(self._transport)
        self.concepts = Concepts(self._transport)
        self.comparisons = Comparisons(self._transport)
        self.search = Search(self._transport)
        self.batches = Batches(self._transport)
        self.evaluations = Evaluations(self._transport)

    def health(self) -> Health:
        """Whether the platform and its parts are ready; raises UnavailableError while they are not."""
        return self._transport.get(Health, "/readyz")

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> CocuClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
