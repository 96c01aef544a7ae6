"""Concept indexes as objects: one mapped file per shard of a curation, made when that is published."""

from __future__ import annotations

from cocu.curation.archives import Archives
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError
from cocu.storage import arrays, paths, tables
from cocu.storage.objects import ObjectStore


def make(
    objects: ObjectStore,
    *,
    curation_id: str,
    shard_id: str,
    content_hash: str,
    archives: Archives,
    concepts: int,
) -> ConceptIndex:
    """Index a shard's archives and the captions behind them, and keep the index.

    content_hash: of the shard's archives; part of the path, so that archives made anew never meet the index
    of the old ones. concepts: V. Raises NotFoundError, IntegrityError.
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
    """The index of a shard, memory-mapped; made now for a curation published without one.

    names: of the vocabulary's concepts. Raises NotFoundError, IntegrityError.
    """
    path = paths.concept_index(curation_id, shard_id, content_hash)
    if not objects.exists(path):
        table = tables.read_table(objects, paths.archives(curation_id, shard_id))
        archives = tables.archives_of(table, names)
        return make(
            objects,
            curation_id=curation_id,
            shard_id=shard_id,
            content_hash=content_hash,
            archives=archives,
            concepts=len(names),
        )
    found = arrays.read_arrays(objects, path)
    try:
        return ConceptIndex(**found)
    except TypeError as error:
        raise IntegrityError(f"object {path} is not a concept index ({error})") from error
