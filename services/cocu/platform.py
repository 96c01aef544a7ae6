"""A platform: the parts that the settings choose, opened. The API and the workers are both made of one.

with Platform.open(Settings()) as platform:
    platform.catalog, platform.objects, platform.vectors
    platform.encoders.get("photo").embed_texts(["a dog"])
    platform.vocabularies.load(tenant="default", vocabulary="visual")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Self

from cocu.curation.vocabulary import Vocabulary
from cocu.datasets.fetching import Fetcher, FetchPolicy
from cocu.datasets.limits import Limits
from cocu.encoders.offered import BundleFolder, Encoders, EncoderSource
from cocu.errors import ConflictError, IntegrityError, InvalidInputError
from cocu.settings import Settings
from cocu.storage import paths
from cocu.storage.catalog import Catalog, vocabularies
from cocu.storage.catalog.records import Page
from cocu.storage.catalog.vocabularies import VocabularyRecord
from cocu.storage.growing import GrowingFiles
from cocu.storage.objects import ObjectStore
from cocu.storage.vectors import VectorOptions, Vectors

Planned = tuple[str, str]
"""(id, stage) of a chunk of work to put into the queue of its stage."""


class Platform:
    """The opened parts of one platform; safe to use from many threads, to be closed once."""

    def __init__(self, settings: Settings, *, catalog: Catalog, objects: ObjectStore) -> None:
        self.settings = settings
        self.catalog = catalog
        self.objects = objects
        self.growing = GrowingFiles(objects)
        self.encoders = Encoders(_encoder_source(settings))
        self.vocabularies = Vocabularies(catalog, objects)
        self._opening = threading.Lock()
        self._vectors: Vectors | None = None
        self._send: Callable[[Iterable[Planned]], None] = _leave_to_the_sweeper
        self.check_broker: Callable[[], None] = _nothing_to_check

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Opens the catalog and the objects; vectors and encoders when they are first used.

        Raises InvalidInputError or UnavailableError, naming the part.
        """
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        objects = ObjectStore.open(
            settings.objects_url,
            cache=settings.data_folder / "objects-cache",
            cache_bytes=settings.objects_cache_bytes,
        )
        catalog = Catalog.open(settings.catalog_url, connections=settings.catalog_connections)
        return cls(settings, catalog=catalog, objects=objects)

    @property
    def vectors(self) -> Vectors:
        """The vector store. Raises UnavailableError while it cannot be opened."""
        with self._opening:
            if self._vectors is None:
                options = _vector_options(self.settings)
                self._vectors = Vectors.open(self.settings.vectors_url, options=options)
            return self._vectors

    @cached_property
    def limits(self) -> Limits:
        """How much the readers accept."""
        return Limits(
            max_pixels=self.settings.max_image_pixels,
            max_image_bytes=self.settings.max_image_bytes,
            max_samples_per_shard=self.settings.samples_per_shard,
        )

    def fetcher(self, *, max_bytes: int) -> Fetcher:
        """What fetches URLs that tenants name, under the limits of the settings."""
        policy = FetchPolicy.of(
            max_bytes=max_bytes,
            max_seconds=self.settings.fetch_seconds,
            ports=self.settings.fetch_ports,
            networks=self.settings.fetch_networks,
        )
        return Fetcher(policy)

    def send_with(
        self, send: Callable[[Iterable[Planned]], None], *, check: Callable[[], None] | None = None
    ) -> None:
        """Tells how chunks of work reach the workers' queues; `workers` does this when it starts.

        check: raises UnavailableError while the broker does not answer.
        """
        self._send = send
        self.check_broker = check or _nothing_to_check

    def enqueue(self, planned: Iterable[Planned]) -> None:
        """Puts chunks into the queues of their stages. What is lost on the way, the sweeper sends again."""
        self._send(planned)

    def close(self) -> None:
        """Closes what was opened."""
        if self._vectors is not None:
            self._vectors.close()
        self.encoders.close()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _encoder_source(settings: Settings) -> EncoderSource:
    if "://" not in settings.encoders_url:
        return BundleFolder(Path(settings.encoders_url), threads=settings.worker_cores or 0)
    from cocu.encoders.triton import InferenceServer, Patience  # noqa: PLC0415 - loads gRPC

    patience = Patience(
        seconds=settings.encoder_seconds, seconds_per_input=settings.encoder_seconds_per_input
    )
    return InferenceServer(settings.encoders_url, patience=patience, in_flight=settings.encoder_requests)


def _vector_options(settings: Settings) -> VectorOptions:
    key = settings.vectors_api_key
    return VectorOptions(
        api_key=None if key is None else key.get_secret_value() or None,
        prefer_grpc=settings.vectors_grpc,
        grpc_port=settings.vectors_grpc_port,
        seconds=settings.vectors_seconds,
        bulk_seconds=settings.vectors_bulk_seconds,
        upserts_at_once=settings.vectors_upserts,
        quantised=settings.vectors_quantised,
        on_disk=settings.vectors_on_disk,
        replicas=settings.vectors_replicas,
    )


def _leave_to_the_sweeper(planned: Iterable[Planned]) -> None:
    """Where no queue is connected in this process, a sweeper elsewhere finds the chunks."""


def _nothing_to_check() -> None:
    """The queues are in this process, or nowhere."""


@cache
def _shipped() -> Vocabulary:
    return Vocabulary.shipped()


class Vocabularies:
    """Vocabularies: rows in the catalog, documents in the object store; every tenant has the shipped one."""

    def __init__(self, catalog: Catalog, objects: ObjectStore) -> None:
        self._catalog = catalog
        self._objects = objects
        self._lock = threading.Lock()
        self._loaded: dict[str, Vocabulary] = {}
        self._offered: set[str] = set()

    def add(self, *, tenant: str, vocabulary: Vocabulary, source: str) -> tuple[VocabularyRecord, bool]:
        """Keeps a vocabulary and tells whether it is new: the same document twice is one vocabulary.

        Raises InvalidInputError for one without concepts, ConflictError when its name and version are taken.
        """
        if not vocabulary.concepts:
            raise InvalidInputError("the vocabulary has no concepts; give it at least one")
        self._objects.put(paths.vocabulary(vocabulary.hash), vocabulary.to_json().encode())
        return vocabularies.create(
            self._catalog,
            tenant=tenant,
            name=vocabulary.name,
            version=vocabulary.version,
            hash=vocabulary.hash,
            source=source,
            concepts=len(vocabulary.concepts),
        )

    def load(self, *, tenant: str, vocabulary: str | None = None) -> tuple[VocabularyRecord, Vocabulary]:
        """The vocabulary of this id or name; the shipped one without either. Raises NotFoundError."""
        self._offer_shipped(tenant)
        wanted = vocabularies.identity(_shipped().hash) if vocabulary is None else vocabulary
        record = vocabularies.get(self._catalog, tenant=tenant, vocabulary=wanted)
        return record, self.of_hash(record.hash)

    def list_page(self, *, tenant: str, limit: int, after: str | None = None) -> Page[VocabularyRecord]:
        """The tenant's vocabularies, the shipped one among them."""
        self._offer_shipped(tenant)
        return vocabularies.list_page(self._catalog, tenant=tenant, limit=limit, after=after)

    def of_hash(self, hash: str) -> Vocabulary:
        """The vocabulary of this hash. Raises IntegrityError when its document says otherwise."""
        with self._lock:
            if hash not in self._loaded:
                vocabulary = Vocabulary.from_json(self._objects.get(paths.vocabulary(hash)).decode())
                if vocabulary.hash != hash:
                    raise IntegrityError(
                        f"the document of vocabulary {hash[:12]}… has hash {vocabulary.hash[:12]}…"
                    )
                self._loaded[hash] = vocabulary
            return self._loaded[hash]

    def _offer_shipped(self, tenant: str) -> None:
        if tenant in self._offered:
            return
        shipped = _shipped()
        try:
            self.add(tenant=tenant, vocabulary=shipped, source="shipped")
        except ConflictError:
            # The tenant uploaded another vocabulary under this name and version; both stay.
            self._add_under_its_hash(tenant, shipped)
        self._offered.add(tenant)

    def _add_under_its_hash(self, tenant: str, shipped: Vocabulary) -> None:
        vocabularies.create(
            self._catalog,
            tenant=tenant,
            name=shipped.name,
            version=f"{shipped.version}+{shipped.hash[:8]}",
            hash=shipped.hash,
            source="shipped",
            concepts=len(shipped.concepts),
        )
