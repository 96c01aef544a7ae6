"""A platform: the parts that the settings choose, opened. The API and the workers are both made of one.

with Platform.open(Settings()) as platform:
    platform.catalog, platform.objects, platform.vectors
    platform.encoders.get("photo").embed_texts(["a dog"])
    platform.vocabularies.load(tenant="default", vocabulary="visual")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache, cached_property
from importlib import import_module
from typing import Self

from cocu import machine
from cocu.catalog import Catalog, vocabularies
from cocu.catalog.records import Page
from cocu.catalog.tasks import TaskRef
from cocu.catalog.upgrade import Exclusive
from cocu.catalog.vocabularies import VocabularyRecord
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.registry import EncoderProvider, EncoderRegistry
from cocu.errors import ConflictError, InvalidInputError
from cocu.formats.http_fetch import Fetcher, FetchPolicy
from cocu.formats.limits import Limits
from cocu.formats.pixel_budget import PixelBudget
from cocu.settings import Settings
from cocu.storage import checksums, durable, paths
from cocu.storage.disk_space import DiskSpace
from cocu.storage.folder_lock import FolderLock
from cocu.storage.objects import ObjectStore
from cocu.storage.partial_upload import PartialUploads
from cocu.storage.permissions import make_private_folder
from cocu.vectors import VectorOptions, Vectors

OWN_FILES = ("catalog.sqlite", "worker.lock", "cocu.log", "objects-cache")
"""What tells a data folder from another."""


class Platform:
    """The opened parts of one platform; safe to use from many threads, to be closed once."""

    def __init__(
        self, settings: Settings, *, catalog: Catalog, objects: ObjectStore, lock: FolderLock | None = None
    ) -> None:
        self.settings = settings
        self.lock = lock
        self.catalog = catalog
        self.objects = objects
        self.disk_space = DiskSpace()
        self.partial_uploads = PartialUploads(objects)
        self.encoders = EncoderRegistry(_encoder_provider(settings))
        self.vocabularies = Vocabularies(catalog, objects)
        self.pixels = PixelBudget(settings.max_decoding_pixels)
        self._opening = threading.Lock()
        self._vectors: Vectors | None = None
        self._send: Callable[[Iterable[TaskRef]], None] = _leave_to_the_sweeper
        self.check_broker: Callable[[], None] = _nothing_to_check

    @classmethod
    def open(cls, settings: Settings, *, alone: bool = False) -> Self:
        """Opens the catalog and the objects; vectors and encoders when they are first used.

        alone: takes the data folder for this process before anything in it is touched, and keeps it until
        `close`. Raises ConflictError where another process has it, InvalidInputError, MachineError or
        UnavailableError, naming the part.
        """
        # Before the lock, whose file would be taken for the mark of a folder of ours.
        with machine.translate_errors("make the data folder", file=settings.data_folder):
            make_private_folder(settings.data_folder, marks=OWN_FILES)
        lock = FolderLock(settings.data_folder).acquire() if alone else None
        try:
            objects = ObjectStore.open(
                settings.objects_url,
                cache=settings.data_folder / "objects-cache",
                cache_bytes=settings.objects_cache_bytes,
            )
            catalog = open_catalog(settings, alone=alone)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return cls(settings, catalog=catalog, objects=objects, lock=lock)

    @property
    def vectors(self) -> Vectors:
        """The vector store. Raises UnavailableError while it cannot be opened."""
        with self._opening:
            if self._vectors is None:
                options = _vector_options(self.settings)
                self._vectors = Vectors.open(self.settings.vectors_url, options=options)
            return self._vectors

    @property
    def lost_vectors(self) -> int:
        """How often the vector store has lost samples, as far as it is open."""
        return 0 if self._vectors is None else self._vectors.lost

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
        self, send: Callable[[Iterable[TaskRef]], None], *, check: Callable[[], None] | None = None
    ) -> None:
        """Tells how tasks reach the workers' queues; `workers` does this when it starts.

        check: raises UnavailableError while the broker does not answer.
        """
        self._send = send
        self.check_broker = check or _nothing_to_check

    def enqueue(self, task_refs: Iterable[TaskRef]) -> None:
        """Put tasks into the queues of their stages. What is lost on the way, the sweeper sends again."""
        self._send(task_refs)

    def delete_abandoned(self) -> int:
        """Delete the temporary files and folders of processes that have died; how many."""
        return self.objects.delete_abandoned() + durable.delete_abandoned(self.settings.data_folder)

    def close(self) -> None:
        """Close what was opened."""
        if self._vectors is not None:
            self._vectors.close()
        self.encoders.close()
        self.catalog.close()
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_catalog(settings: Settings, *, alone: bool = False) -> Catalog:
    """The catalog of a platform, upgraded; that of a data folder only while no other process works on it.

    alone: the caller has the folder's lock. Raises as `Catalog.open`.
    """
    lock = FolderLock(settings.data_folder)
    exclusive: Exclusive = nullcontext if alone or not settings.embedded else lambda: lock
    return Catalog.open(settings.catalog_url, connections=settings.catalog_connections, exclusive=exclusive)


def _encoder_provider(settings: Settings) -> EncoderProvider:
    # Loaded by name: only a platform that uses a runtime loads its libraries.
    module = import_module(f"cocu.encoders.{settings.encoder_provider}")
    provider: EncoderProvider = module.open_provider(settings)
    return provider


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
        shards=settings.vectors_shards,
    )


def _leave_to_the_sweeper(task_refs: Iterable[TaskRef]) -> None:
    """Where no queue is connected in this process, a sweeper elsewhere finds the tasks."""


def _nothing_to_check() -> None:
    """The queues are in this process, or nowhere."""


@cache
def _shipped() -> Vocabulary:
    return Vocabulary.shipped()


def read_vocabulary(objects: ObjectStore, hash: str) -> Vocabulary:
    """The vocabulary of this hash. Raises NotFoundError, IntegrityError when its document is another."""
    path = paths.vocabulary(hash)
    try:
        vocabulary = Vocabulary.from_json(objects.get(path).decode())
    except ValueError as error:
        raise checksums.damaged(path, "it is not the document of a vocabulary") from error
    if vocabulary.hash != hash:
        raise checksums.damaged(path, f"its vocabulary has hash {vocabulary.hash[:16]}…")
    return vocabulary


class Vocabularies:
    """Vocabularies: rows in the catalog, documents in the object store; every tenant has the shipped one."""

    def __init__(self, catalog: Catalog, objects: ObjectStore) -> None:
        self._catalog = catalog
        self._objects = objects
        self._lock = threading.Lock()
        self._loaded: dict[str, Vocabulary] = {}
        self._offered: set[str] = set()

    def add(self, *, tenant: str, vocabulary: Vocabulary, source: str) -> tuple[VocabularyRecord, bool]:
        """Keep a vocabulary and tells whether it is new: the same document twice is one vocabulary.

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
        identity = vocabularies.identity(_shipped().hash) if vocabulary is None else vocabulary
        record = vocabularies.get(self._catalog, tenant=tenant, vocabulary=identity)
        return record, self.of_hash(record.hash)

    def delete(self, *, tenant: str, vocabulary_id: str) -> None:
        """Delete a vocabulary that no curation uses. Raises NotFoundError, ConflictError.

        Only its id names it here: of several versions with a name, the same request again would delete one
        after the other.
        """
        if vocabulary_id == vocabularies.identity(_shipped().hash):
            raise ConflictError("the shipped vocabulary cannot be deleted: it is the default of curations")
        vocabularies.delete(self._catalog, tenant=tenant, vocabulary_id=vocabulary_id)

    def list_page(self, *, tenant: str, limit: int, after: str | None = None) -> Page[VocabularyRecord]:
        """The tenant's vocabularies, the shipped one among them."""
        self._offer_shipped(tenant)
        return vocabularies.list_page(self._catalog, tenant=tenant, limit=limit, after=after)

    def of_hash(self, hash: str) -> Vocabulary:
        """The vocabulary of this hash. Raises IntegrityError when its document says otherwise."""
        with self._lock:
            if hash not in self._loaded:
                self._loaded[hash] = read_vocabulary(self._objects, hash)
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
