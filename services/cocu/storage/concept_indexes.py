"""Concept indexes as objects: one memory-mapped file per shard, built when its curation is published."""

from __future__ import annotations

import logging

from cocu.curation.archives import Archives
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage import arrays, paths, tables
from cocu.storage.objects import ObjectStore

logger = logging.getLogger(__name__)


def build(
    objects: ObjectStore,
    *,
    curation_id: str,
    shard_id: str,
    content_hash: str,
    archives: Archives,
    concepts: int,
) -> ConceptIndex:
    """Build the index of a shard's archives and captions, and store it.

    content_hash: of the shard's archives. It is part of the path, so that new archives are never read with
    the index of old ones. concepts: V. Raises NotFoundError, IntegrityError.
    """
    mentions = arrays.read_mentions(objects, paths.mentions(curation_id, shard_id))
    index = ConceptIndex.of(
        archives,
        caption_offsets_B1=mentions.offsets_N1,
        caption_concepts_M=mentions.concepts_M,
        concepts=concepts,
    )
    arrays.write_arrays(objects, paths.concept_index(curation_id, shard_id, content_hash), index.to_arrays())
    return index


def read(
    objects: ObjectStore, *, curation_id: str, shard_id: str, content_hash: str, names: tuple[str, ...]
) -> ConceptIndex:
    """Memory-map the index of a shard; build it where it is missing or damaged.

    names: of the vocabulary's concepts. Raises NotFoundError, IntegrityError.
    """
    path = paths.concept_index(curation_id, shard_id, content_hash)
    try:
        return ConceptIndex(**arrays.read_arrays(objects, path))
    except (NotFoundError, IntegrityError, TypeError) as error:
        if not isinstance(error, NotFoundError):
            logger.warning("a concept index is built again: %s", error)
        table = tables.read_table(objects, paths.archives(curation_id, shard_id), content_hash=content_hash)
        archives = tables.archives_of(table, names)
        return build(
            objects,
            curation_id=curation_id,
            shard_id=shard_id,
            content_hash=content_hash,
            archives=archives,
            concepts=len(names),
        )
