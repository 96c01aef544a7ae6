"""index: the embeddings of a shard → the vector store, for search. Files are the truth; this is a copy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cocu.catalog import samples, vector_state, vector_tasks
from cocu.catalog.tasks import TaskRecord
from cocu.catalog.vector_state import EmbeddedShard, PublishedArchives
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, NotFoundError
from cocu.pipeline.lease import Lease
from cocu.platform import Platform
from cocu.storage import arrays, concept_indexes, paths, tables
from cocu.vectors import Archives

logger = logging.getLogger(__name__)

BATCH = 2048

Upsert = Callable[..., None]
"""`Vectors.upsert_samples` with the encoder given, or `ShadowCollection.upsert_samples`."""


def run(lease: Lease) -> None:
    """Put a shard's vectors into the collection of its encoder; doing it again replaces them by the same."""
    task = lease.task
    shard = embedded_shard(lease.platform, task, encoder_hash=task.owner_key)
    put_in_use(lease.platform, shard, advance=lease.advance)


def embedded_shard(platform: Platform, task: TaskRecord, *, encoder_hash: str) -> EmbeddedShard:
    """The shard that a task is about."""
    first_row = samples.first_row(platform.catalog, dataset_id=task.dataset_id, shard_id=task.target)
    return EmbeddedShard(
        tenant=task.tenant,
        dataset_id=task.dataset_id,
        encoder_hash=encoder_hash,
        shard_id=task.target,
        first_row=first_row,
        samples=task.units_total,
        revision=0,
    )


def put_in_use(
    platform: Platform, shard: EmbeddedShard, *, advance: Callable[[int], None], required: str | None = None
) -> None:
    """Put a shard into the collection that searches are answered from, and close the tasks for that.

    Raises as `put_shard`, and UnavailableError.
    """
    path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
    dimensions = arrays.read_embeddings(platform.objects, path).shape[1]
    # A store that is away is not to keep workers from what the curations wait for.
    platform.vectors.check()
    platform.vectors.ensure_collection(encoder=shard.encoder_hash, dimensions=dimensions)
    idle = vector_tasks.idle_tasks(platform.catalog, shard)
    upsert = partial(platform.vectors.upsert_samples, encoder=shard.encoder_hash)
    put = put_shard(platform, shard, upsert, advance=advance, required=required)
    vector_tasks.note_put(platform.catalog, shard, put, idle=idle)


def put_shard(
    platform: Platform,
    shard: EmbeddedShard,
    upsert: Upsert,
    *,
    advance: Callable[[int], None],
    required: str | None = None,
) -> list[PublishedArchives]:
    """Put a shard's vectors there, with its archives in every published curation; return those archives.

    advance: called with the number of samples that were put there. required: the curation whose archives
    must be among them; those of others are left out where they cannot be read. Raises NotFoundError,
    IntegrityError, both before anything is put.
    """
    content = _Content.read(platform, shard)
    published = archived_by(platform, shard)
    while True:
        readable = dict(_archives(platform, content, published, required=required))
        for start in range(0, len(content.keys), BATCH):
            part = slice(start, start + BATCH)
            upsert(
                tenant=shard.tenant,
                dataset=shard.dataset_id,
                keys=content.keys[part],
                first_row=shard.first_row + start,
                embeddings_ND=content.embeddings_ND[part],
                archives=[_part(of.curation_id, index, part) for of, index in readable.items()],
            )
            advance(len(content.keys[part]))
        # Points are replaced as wholes: who began before a curation was published, and ends after another
        # has put its archives there, would take them away again.
        before, published = published, archived_by(platform, shard)
        if published == before:
            return list(readable)


def archived_by(platform: Platform, shard: EmbeddedShard) -> list[PublishedArchives]:
    """The archives of a shard in every published curation, as of now."""
    return vector_state.archived_by(
        platform.catalog,
        dataset_id=shard.dataset_id,
        encoder_hash=shard.encoder_hash,
        shard_id=shard.shard_id,
    )


@dataclass(frozen=True)
class _Content:
    """What the files say of a shard."""

    shard: EmbeddedShard
    keys: list[str]
    embeddings_ND: NDArray[np.floating[Any]]

    @classmethod
    def read(cls, platform: Platform, shard: EmbeddedShard) -> _Content:
        path = paths.embeddings(shard.dataset_id, shard.encoder_hash, shard.shard_id)
        embeddings_ND = arrays.read_embeddings(platform.objects, path)
        table = tables.read_table(
            platform.objects, paths.samples(shard.dataset_id, shard.shard_id), columns=["key"]
        )
        return cls(shard, table["key"].to_pylist(), embeddings_ND)


def _archives(
    platform: Platform, content: _Content, published: Iterable[PublishedArchives], *, required: str | None
) -> Iterable[tuple[PublishedArchives, ConceptIndex]]:
    shard_id = content.shard.shard_id
    for of in published:
        try:
            index = concept_indexes.read(
                platform.objects,
                curation_id=of.curation_id,
                shard_id=shard_id,
                content_hash=of.content_hash,
                names=platform.vocabularies.of_hash(of.vocabulary_hash).names,
            )
            if len(index.offsets_B1) != len(content.keys) + 1:
                raise IntegrityError(
                    f"shard {shard_id} has {len(content.keys)} samples, and {len(index.offsets_B1) - 1} "
                    f"archives in curation {of.curation_id}; run `cocu catalog verify`"
                )
        except (NotFoundError, IntegrityError) as error:
            if of.curation_id == required:
                raise
            logger.warning(
                "the vector store does not get the archives of curation %s in shard %s: %s",
                of.curation_id,
                shard_id,
                error,
            )
        else:
            yield of, index


def _part(curation_id: str, index: ConceptIndex, part: slice) -> Archives:
    """The archives of some samples; what they share is not copied."""
    return Archives(
        curation=curation_id,
        offsets_N1=index.offsets_B1[part.start : part.stop + 1],
        concepts_C=index.concepts_C,
        scores_C=index.scores_C,
        added_C=index.added_C.view(np.bool_),
    )
