"""The typed HTTP client of the platform."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from cocu.client.archives import Archives
from cocu.client.batches import Batches
from cocu.client.concepts import Comparisons, Concepts
from cocu.client.curations import Curations, Evaluations
from cocu.client.datasets import Datasets
from cocu.client.feedback import FeedbackNotes
from cocu.client.judgements import Judgements
from cocu.client.labels import Labels
from cocu.client.projections import Projections
from cocu.client.search import Search
from cocu.client.server_sent_events import follow
from cocu.client.service_client import ServiceClient
from cocu.client.vocabularies import Encoders, Vocabularies
from cocu.schemas import PlatformEvent


class CocuClient(ServiceClient):
    """A client of one platform.

        with CocuClient("http://127.0.0.1:8000") as client:
            dataset = client.datasets.create("photographs")
            client.datasets.upload(dataset.id, "photos.tar")
            curation = client.curations.create(dataset.id)
            client.curations.wait(curation.id)
            for archive in client.archives.list(curation.id, added=True):
                print(archive.key, [concept.concept for concept in archive.concepts])

    Idempotent calls are retried (`retries` times, with growing pauses) when the connection fails or the
    platform answers 429 or 503. `timeout` is in seconds, for each read or write. Errors: see
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
        super().__init__(base_url, api_key, timeout=timeout, retries=retries, transport=transport)
        self.datasets = Datasets(self._transport)
        self.vocabularies = Vocabularies(self._transport)
        self.feedback = FeedbackNotes(self._transport)
        self.encoders = Encoders(self._transport)
        self.curations = Curations(self._transport)
        self.archives = Archives(self._transport)
        self.concepts = Concepts(self._transport)
        self.comparisons = Comparisons(self._transport)
        self.search = Search(self._transport)
        self.projections = Projections(self._transport)
        self.batches = Batches(self._transport)
        self.judgements = Judgements(self._transport)
        self.labels = Labels(self._transport)
        self.evaluations = Evaluations(self._transport)

    def events(
        self, *, after: int | None = None, reconnects: int = 5
    ) -> Generator[PlatformEvent, None, None]:
        """What happens to curations, uploads and projections, from now on or after this id; it does not end.

        A lost connection is resumed. Close the generator to end the stream.
        """
        return follow(self._transport, "/v1/events", PlatformEvent, after=after, reconnects=reconnects)
