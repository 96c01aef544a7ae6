"""What the vector store says of archives, beside what the files say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.pipeline.pipeline_driver import archives_of, concepts_in

from cocu.catalog import curations, vector_state
from cocu.catalog.curations import CurationRecord
from cocu.platform import Platform
from cocu.storage import arrays, concept_indexes, paths, tables
from cocu.vectors import LOWEST_BAND, ArchivedConcept

ByConcept = dict[str, set[str]]
"""The keys of the samples whose archives hold a concept."""


def named(curation: CurationRecord) -> dict[str, str]:
    """The names by which the store knows the samples of a curation's dataset."""
    return {
        "encoder": curation.encoder_hash,
        "tenant": curation.tenant,
        "dataset": curation.dataset_id,
    }


def names_of(platform: Platform, curation: CurationRecord) -> tuple[str, ...]:
    return platform.vocabularies.of_hash(curation.vocabulary_hash).names


def in_store(platform: Platform, curation: CurationRecord, *, added: bool = False) -> ByConcept:
    """What the store finds by each concept."""
    some_shard = vector_state.embedded(platform.catalog, dataset_id=curation.dataset_id)[0]
    path = paths.embeddings(curation.dataset_id, curation.encoder_hash, some_shard.shard_id)
    vector_D = np.ones(arrays.read_embeddings(platform.objects, path).shape[1])

    def found(number: int) -> set[str]:
        concept = ArchivedConcept(curation.id, number, added=added)
        hits = platform.vectors.search(**named(curation), vector_D=vector_D, limit=1_000, concepts=[concept])
        return {hit.key for hit in hits}

    return {name: found(number) for number, name in enumerate(names_of(platform, curation))}


def in_files(platform: Platform, curation: CurationRecord) -> ByConcept:
    """What the archive tables hold, down to the lowest score that the store has."""
    held: ByConcept = {name: set() for name in names_of(platform, curation)}
    for key, archive in archives_of(platform, curation).items():
        for name, concept in zip(concepts_in(archive), archive["concepts"], strict=True):
            if concept["score"] >= LOWEST_BAND:
                held[name].add(key)
    return held


def added_in_files(platform: Platform, curation: CurationRecord) -> ByConcept:
    """Of those, the samples whose captions do not name the concept."""
    names = names_of(platform, curation)
    held: ByConcept = {name: set() for name in names}
    for shard in curations.shards(platform.catalog, curation_id=curation.id):
        if shard.content_hash is None:
            continue
        index = concept_indexes.read(
            platform.objects,
            curation_id=curation.id,
            shard_id=shard.shard_id,
            content_hash=shard.content_hash,
            names=names,
        )
        samples = paths.samples(curation.dataset_id, shard.shard_id)
        keys = tables.read_table(platform.objects, samples, columns=["key"])["key"].to_pylist()
        for number, name in enumerate(names):
            entries = index.entries(number)
            wanted = (index.added_C[entries] == 1) & (index.scores_C[entries] >= LOWEST_BAND)
            held[name] |= {keys[row] for row in index.rows_of(entries[wanted])}
    return held


def assert_indexed(platform: Platform, *every: CurationRecord) -> None:
    """The store finds by each concept just those samples whose archives hold it, and knows that it does."""
    for curation in every:
        held = in_files(platform, curation)
        assert any(held.values())
        assert in_store(platform, curation) == held
        assert in_store(platform, curation, added=True) == added_in_files(platform, curation)
        assert vector_state.has_concepts(platform.catalog, curation_id=curation.id)


def interrupted(platform: Platform, *, after: int, by: Callable[[], object]) -> Callable[..., None]:
    """`upsert_samples` of the platform's store, before whose call number `after` something happens."""
    upsert, calls = platform.vectors.upsert_samples, iter(range(1_000_000))

    def called(**arguments: object) -> None:
        if next(calls) == after:
            by()
        upsert(**arguments)  # type: ignore[arg-type]

    return called
