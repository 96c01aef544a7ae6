"""The vector store made again from the files, while searches go on and curations run.

A whole collection is filled beside the one in use and then takes its place in one step; what was embedded,
mended, published or deleted meanwhile went into the old one, and is looked for and made good afterwards. One
dataset is put into the collection in use: its points have the ids that they had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from cocu.catalog import vector_state, vector_tasks
from cocu.catalog.vector_state import EmbeddedShard, PublishedArchives
from cocu.catalog.vector_tasks import IdleTasks
from cocu.errors import IntegrityError, NotFoundError
from cocu.pipeline.stages.index import Upsert, archived_by, put_shard
from cocu.platform import Platform
from cocu.storage import arrays, paths

logger = logging.getLogger(__name__)

Advance = Callable[[str, int], None]
"""(encoder hash, samples that were put into the store)"""


@dataclass
class Rebuilt:
    """What was put into the store for an encoder; failed: shards whose files cannot be read, with why."""

    encoder_hash: str
    samples: int = 0
    shards: int = 0
    datasets: int = 0
    collection: str | None = None
    failed: dict[str, str] = field(default_factory=dict)


def shards_by_encoder(
    platform: Platform, *, dataset_id: str | None = None, encoder_hash: str | None = None
) -> dict[str, list[EmbeddedShard]]:
    """The shards to put into the store, by encoder."""
    shards: dict[str, list[EmbeddedShard]] = {}
    for shard in vector_state.embedded(platform.catalog, dataset_id=dataset_id):
        if encoder_hash in (None, shard.encoder_hash):
            shards.setdefault(shard.encoder_hash, []).append(shard)
    return shards


def rebuild_dataset(
    platform: Platform, shards: Iterable[EmbeddedShard], *, encoder_hash: str, advance: Advance
) -> Rebuilt:
    """Put these shards of a dataset into the collection in use, which is created if need be.

    Raises UnavailableError; doing it again begins anew and comes to the same.
    """
    rebuild = _Rebuild(platform, encoder_hash, advance)
    dimensions = _dimensions(platform, shards := list(shards), rebuild.rebuilt)
    if dimensions is not None:
        platform.vectors.ensure_collection(encoder=encoder_hash, dimensions=dimensions)
        rebuild.put(shards, _in_use(platform, encoder_hash))
        rebuild.note()
    return rebuild.rebuilt


def rebuild_encoder(
    platform: Platform, shards: Iterable[EmbeddedShard], *, encoder_hash: str, advance: Advance
) -> Rebuilt:
    """Fill a new collection with all shards of an encoder and let it take the place of the one in use.

    Raises UnavailableError, after which the one in use is as it was.
    """
    rebuild = _Rebuild(platform, encoder_hash, advance)
    dimensions = _dimensions(platform, shards := list(shards), rebuild.rebuilt)
    if dimensions is None:
        return rebuild.rebuilt
    with platform.vectors.shadow(encoder=encoder_hash, dimensions=dimensions) as shadow:
        rebuild.put(shards, shadow.upsert_samples)
        # Once before, so that little is left for the moment in which searches miss it.
        rebuild.catch_up(shadow.upsert_samples)
        if not shadow.switch():
            logger.warning("the server goes on building the graphs of %s", shadow.generation)
        rebuild.rebuilt.collection = shadow.generation
    rebuild.catch_up(_in_use(platform, encoder_hash))
    rebuild.note()
    return rebuild.rebuilt


def _in_use(platform: Platform, encoder_hash: str) -> Upsert:
    return partial(platform.vectors.upsert_samples, encoder=encoder_hash)


@dataclass
class _Put:
    """A shard that was put there.

    archives: those that were put; known: those that could be read or could not. idle: the tasks for it that
    no worker was at before.
    """

    archives: list[PublishedArchives]
    known: set[PublishedArchives]
    idle: IdleTasks


class _Rebuild:
    """One encoder's points being put somewhere."""

    def __init__(self, platform: Platform, encoder_hash: str, advance: Advance) -> None:
        self.rebuilt = Rebuilt(encoder_hash)
        self._platform = platform
        self._advance = advance
        self._put: dict[EmbeddedShard, _Put] = {}
        self._failed: set[EmbeddedShard] = set()
        self._datasets: set[tuple[str, str]] = set()

    def put(self, shards: Iterable[EmbeddedShard], upsert: Upsert) -> None:
        """Put these shards there; those whose files cannot be read are left out."""
        for shard in shards:
            self._datasets.add((shard.tenant, shard.dataset_id))
            idle = vector_tasks.idle_tasks(self._platform.catalog, shard)
            known = {*archived_by(self._platform, shard)}
            try:
                archives = put_shard(self._platform, shard, upsert, advance=self._report)
            except (NotFoundError, IntegrityError) as error:
                # Deleted meanwhile, or damaged: the others are not to miss their search for it.
                logger.warning(
                    "shard %s of dataset %s was left out: %s", shard.shard_id, shard.dataset_id, error
                )
                self.rebuilt.failed[shard.shard_id] = str(error)
                self._failed.add(shard)
                vector_tasks.note_left_out(self._platform.catalog, shard, error=str(error))
            else:
                self._put[shard] = _Put(archives, known.union(archives), idle)

    def catch_up(self, upsert: Upsert) -> None:
        """Do there what was done to the collection in use meanwhile."""
        encoder_hash = self.rebuilt.encoder_hash
        now = dict.fromkeys(
            shards_by_encoder(self._platform, encoder_hash=encoder_hash).get(encoder_hash, [])
        )
        self.put([shard for shard in now if self._is_stale(shard)], upsert)
        for tenant, dataset_id in self._datasets - {(shard.tenant, shard.dataset_id) for shard in now}:
            self._platform.vectors.delete_dataset(tenant=tenant, dataset=dataset_id)
        self._put = {shard: put for shard, put in self._put.items() if shard in now}

    def note(self) -> None:
        """Note down what is there now, and sum it up."""
        for shard, put in self._put.items():
            vector_tasks.note_put(self._platform.catalog, shard, put.archives, idle=put.idle)
        self.rebuilt.samples = sum(shard.samples for shard in self._put)
        self.rebuilt.shards = len(self._put)
        self.rebuilt.datasets = len({shard.dataset_id for shard in self._put})

    def _is_stale(self, shard: EmbeddedShard) -> bool:
        if shard in self._failed:
            return False
        put = self._put.get(shard)
        return put is None or not put.known.issuperset(archived_by(self._platform, shard))

    def _report(self, samples: int) -> None:
        self._advance(self.rebuilt.encoder_hash, samples)


def _dimensions(platform: Platform, shards: list[EmbeddedShard], rebuilt: Rebuilt) -> int | None:
    """Of the embeddings, from the first file that can be read."""
    for shard in shards:
        path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
        try:
            return int(arrays.read_embeddings(platform.objects, path).shape[1])
        except (NotFoundError, IntegrityError) as error:
            rebuilt.failed[shard.shard_id] = str(error)
    return None
