"""Embeddings, merge candidates, gaps and points of a vocabulary: computed once, checked, computed again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.pipeline.damage import flip, the_first
from tests.pipeline.pipeline_driver import TENANT, begin, drain, ingested, state_of
from tests.pipeline.test_integrity_check import findings

from cocu.catalog import samples
from cocu.curation.vocabulary import Vocabulary
from cocu.curation.vocabulary_files import Entry
from cocu.encoders.concepts import embed_concepts
from cocu.errors import UnavailableError
from cocu.pipeline import concept_vectors
from cocu.pipeline.submit import snapshot_hash
from cocu.platform import Platform
from cocu.vectors import ConceptVectors, Frequency

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")


def of_words(count: int) -> Vocabulary:
    """A vocabulary of this many concepts of one to four words of the tiny encoder."""
    names = {
        f"{WORDS[number % 6]} {WORDS[number // 6 % 6]} {WORDS[number // 36 % 6]} number {number}"
        for number in range(count)
    }
    return Vocabulary.build(
        (Entry(name) for name in names), name="many", templates=("a {}", "photo {}", "{}")
    )


def test_embeddings__in_parts_are_those_of_a_single_call(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concept_vectors, "AT_ONCE", 256)
    vocabulary, tower = of_words(700), platform.encoders.get()
    done: list[int] = []
    made_VD = concept_vectors.compute_embeddings(platform, tower, vocabulary, advance=done.append)
    assert done == [256, 256, 188]
    np.testing.assert_array_equal(made_VD, embed_concepts(tower, vocabulary.prompts()))
    done.clear()
    concept_vectors.compute_embeddings(platform, tower, vocabulary, advance=done.append)
    assert done == []


def test_embeddings__that_are_left_are_not_there(platform: Platform) -> None:
    def stop(done: int) -> None:
        raise UnavailableError("the platform stops")

    vocabulary, tower = of_words(10), platform.encoders.get()
    with pytest.raises(UnavailableError):
        concept_vectors.compute_embeddings(platform, tower, vocabulary, advance=stop)
    hashes = {"encoder_hash": tower.hash, "vocabulary_hash": vocabulary.hash}
    assert concept_vectors.embeddings(platform, **hashes) is None


def compute_all(platform: Platform, dataset_id: str, vocabulary: Vocabulary) -> tuple[Any, ...]:
    """Compute everything, and return it as it is read."""
    tower = platform.encoders.get()
    shards = samples.shards(platform.catalog, tenant=TENANT, dataset_id=dataset_id)
    hashes = {"encoder_hash": tower.hash, "vocabulary_hash": vocabulary.hash}
    place = {"dataset_id": dataset_id, "snapshot": snapshot_hash([shard.sha256 for shard in shards])}
    concepts_VD = concept_vectors.compute_embeddings(platform, tower, vocabulary)
    if concept_vectors.pairs(platform, **hashes) is None:
        concept_vectors.compute_pairs(platform, concepts_VD, **hashes)
    if concept_vectors.gaps(platform, **place, **hashes) is None:
        concept_vectors.compute_gaps(platform, tower, vocabulary, concepts_VD, **place, shards=shards)
    pairs = concept_vectors.pairs(platform, **hashes)
    gaps = concept_vectors.gaps(platform, **place, **hashes)
    assert pairs is not None
    assert gaps is not None
    return (
        concepts_VD.tolist(),
        pairs.first_P.tolist(),
        pairs.second_P.tolist(),
        pairs.similarities_P.tolist(),
        gaps.phrases,
        gaps.counts_P.tolist(),
        gaps.nearest_P.tolist(),
        gaps.similarities_P.tolist(),
    )


def test_files__are_named_by_somebody_and_computed_again_if_damaged(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id = ingested(platform)
    begin(platform, dataset_id)
    drain(platform)
    vocabulary = Vocabulary.from_lines("boat\nbench\n", name="narrow")
    platform.vocabularies.add(tenant=TENANT, vocabulary=vocabulary, source="uploaded")
    made = compute_all(platform, dataset_id, vocabulary)
    assert made[4]
    assert findings(platform) == []
    damaged = [the_first(platform, "/gaps/"), the_first(platform, "/pairs/")]
    for path in damaged:
        flip(platform, path)
    assert {finding.path for finding in findings(platform)} == set(damaged)
    with caplog.at_level(logging.WARNING):
        assert compute_all(platform, dataset_id, vocabulary) == made
    assert "is computed again" in caplog.text


def test_put__has_the_frequencies_of_published_curations(platform: Platform) -> None:
    curation = begin(platform, ingested(platform))
    drain(platform)
    published = state_of(platform, curation)
    record, vocabulary = platform.vocabularies.load(tenant=TENANT, vocabulary=published.vocabulary_id)
    tower = platform.encoders.get()
    concepts_VD = concept_vectors.compute_embeddings(platform, tower, vocabulary)
    place = {"tenant": TENANT, "encoder_hash": tower.hash}
    unpublished = published.__class__(**{**vars(published), "id": "0" * 32})
    concept_vectors.put(
        platform,
        vocabulary,
        concepts_VD,
        vocabulary_id=record.id,
        **place,
        curations=[published, unpublished],
    )

    def found(version: str) -> list[Frequency | None]:
        near = ConceptVectors(platform.vectors).near(
            encoder=tower.hash,
            tenant=TENANT,
            vocabulary=record.id,
            vector_D=concepts_VD[0],
            limit=100,
            curation=version,
        )
        return [concept.frequency for concept in sorted(near, key=lambda concept: concept.number)]

    counts: Callable[[str], Any] = concept_vectors._frequencies(
        platform, [published], len(vocabulary)
    ).__getitem__
    captions_V, archives_V, added_V = counts(concept_vectors.version_of(published))
    assert captions_V.sum() > 0
    assert found(concept_vectors.version_of(published)) == list(
        zip(captions_V.tolist(), archives_V.tolist(), added_V.tolist(), strict=True)
    )
    assert set(found(concept_vectors.version_of(unpublished))) == {None}
