"""The vector store made again from the files, while searches go on and curations run.

A whole collection is filled beside the one in use and then takes its place in one step; what was embedded,
mended, published or deleted meanwhile went into the old one, and is looked for and made good afterwards. One
dataset is put into the collection in use: its points have the ids that they had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cocu.errors import IntegrityError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.catalog import indexing
from cocu.storage.catalog.indexing import EmbeddedShard
from cocu.workers.index import Target, put_concepts, put_shard

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


def planned(
    platform: Platform, *, dataset_id: str | None = None, encoder_hash: str | None = None
) -> dict[str, list[EmbeddedShard]]:
    """The shards to put into the store, by encoder."""
    found: dict[str, list[EmbeddedShard]] = {}
    for shard in indexing.embedded(platform.catalog, dataset_id=dataset_id):
        if encoder_hash in (None, shard.encoder_hash):
            found.setdefault(shard.encoder_hash, []).append(shard)
    return found


def rebuild_dataset(
    platform: Platform, shards: Iterable[EmbeddedShard], *, encoder_hash: str, advance: Advance
) -> Rebuilt:
    """Puts these shards of a dataset into the collection in use, which is created if need be.

    Raises UnavailableError; doing it again begins anew and comes to the same.
    """
    rebuilt = Rebuilt(encoder_hash)
    dimensions = _dimensions(platform, shards := list(shards), rebuilt)
    if dimensions is not None:
        platform.vectors.ensure_collection(encoder=encoder_hash, dimensions=dimensions)
        target = Target.in_use(platform.vectors, encoder_hash)
        _put(platform, shards, target, rebuilt, advance)
    return rebuilt


def rebuild_encoder(
    platform: Platform, shards: Iterable[EmbeddedShard], *, encoder_hash: str, advance: Advance
) -> Rebuilt:
    """Fills a new collection with all shards of an encoder and lets it take the place of the one in use.

    Raises UnavailableError, after which the one in use is as it was.
    """
    rebuilt = Rebuilt(encoder_hash)
    dimensions = _dimensions(platform, shards := list(shards), rebuilt)
    if dimensions is None:
        return rebuilt
    published = _published(platform, shards)
    with platform.vectors.filling(encoder=encoder_hash, dimensions=dimensions) as filling:
        _put(platform, shards, Target.being_filled(filling), rebuilt, advance)
        if not filling.switch():
            logger.warning("the server goes on building the graphs of %s", filling.collection)
        rebuilt.collection = filling.collection
    _make_good(platform, shards, published, rebuilt, advance)
    return rebuilt


def _make_good(
    platform: Platform,
    before: list[EmbeddedShard],
    published: dict[EmbeddedShard, list[str]],
    rebuilt: Rebuilt,
    advance: Advance,
) -> None:
    """Does to the new collection what happened to the old one while the new one was filled."""
    target = Target.in_use(platform.vectors, rebuilt.encoder_hash)
    now = planned(platform, encoder_hash=rebuilt.encoder_hash).get(rebuilt.encoder_hash, [])
    _put(platform, [shard for shard in now if shard not in published], target, rebuilt, advance)
    there = {(shard.tenant, shard.dataset_id) for shard in now}
    for tenant, dataset_id in {(shard.tenant, shard.dataset_id) for shard in before} - there:
        platform.vectors.delete_dataset(tenant=tenant, dataset=dataset_id)
    for shard, curation_ids in _published(platform, [one for one in now if one in published]).items():
        for curation_id in curation_ids:
            if curation_id not in published[shard]:
                put_concepts(platform, shard, target, curation_id=curation_id)


def _put(
    platform: Platform,
    shards: list[EmbeddedShard],
    target: Target,
    rebuilt: Rebuilt,
    advance: Advance,
) -> None:
    put: list[EmbeddedShard] = []
    for shard in shards:
        try:
            put_shard(platform, shard, target, advance=lambda samples: advance(rebuilt.encoder_hash, samples))
        except (NotFoundError, IntegrityError) as error:
            # Deleted meanwhile, or damaged: the others are not to miss their search for it.
            logger.warning("shard %s of dataset %s was left out: %s", shard.shard_id, shard.dataset_id, error)
            rebuilt.failed[shard.shard_id] = str(error)
            indexing.note_left_out(platform.catalog, shard, error=str(error))
            continue
        put.append(shard)
    rebuilt.samples += sum(shard.samples for shard in put)
    rebuilt.shards += len(put)
    rebuilt.datasets += len({shard.dataset_id for shard in put})
    indexing.note_indexed(platform.catalog, put)


def _published(platform: Platform, shards: list[EmbeddedShard]) -> dict[EmbeddedShard, list[str]]:
    return {
        shard: indexing.archived_by(
            platform.catalog,
            dataset_id=shard.dataset_id,
            encoder_hash=shard.encoder_hash,
            shard_id=shard.shard_id,
        )
        for shard in shards
    }


def _dimensions(platform: Platform, shards: list[EmbeddedShard], rebuilt: Rebuilt) -> int | None:
    """Of the embeddings, from the first file that can be read."""
    for shard in shards:
        path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
        try:
            return int(arrays.read_embeddings(platform.objects, path).shape[1])
        except (NotFoundError, IntegrityError) as error:
            rebuilt.failed[shard.shard_id] = str(error)
    return None
