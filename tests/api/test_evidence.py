"""One archive with what explains it: places in captions, parts of scores, weights of neighbours."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest
from tests.api.conftest import CAPTIONS, VOCABULARY, Curated

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.curation.evidence import neighbour_weights
from cocu.curation.statistics import Statistics
from cocu.curation.vocabulary import Vocabulary
from cocu.schemas import ArchiveDetail, Curation, Mention, Parameters
from cocu.storage import arrays, paths, tables

WORDS = Vocabulary.from_lines(VOCABULARY, name="things")


def _named(caption: str) -> list[str]:
    return [WORDS.names[concept] for concept in WORDS.match(caption)]


def _check_mentions(caption: str, mentions: list[Mention]) -> None:
    assert sorted({mention.concept for mention in mentions}) == _named(caption)
    for mention in mentions:
        assert _named(caption[mention.start : mention.end]) == [mention.concept]


@pytest.mark.parametrize("key", CAPTIONS)
def test_captions_say_where_they_name_concepts(client: CocuClient, curated: Curated, key: str) -> None:
    archive = client.archives.get(curated.curation.id, key)
    _check_mentions(archive.caption, archive.mentions)
    for neighbour in archive.neighbours:
        assert neighbour.caption == CAPTIONS[neighbour.key]
        assert neighbour.concepts == _named(neighbour.caption)
        _check_mentions(neighbour.caption, neighbour.mentions)


def test_neighbours_have_their_pictures(client: CocuClient, http: httpx.Client, curated: Curated) -> None:
    archive = client.archives.get(curated.curation.id, "plain")
    assert archive.neighbours
    for neighbour in archive.neighbours:
        sample = client.datasets.sample(curated.dataset.id, neighbour.key)
        assert (neighbour.image, neighbour.thumbnail) == (sample.image, sample.thumbnail)
        assert neighbour.thumbnail is not None
        assert http.get(neighbour.thumbnail).headers["content-type"] == "image/jpeg"


def test_a_concept_of_a_neighbour_has_it_as_an_origin(client: CocuClient, curated: Curated) -> None:
    archive = client.archives.get(curated.curation.id, "plain")
    origins = {
        (origin.key, concept.concept)
        for concept in archive.concepts
        for origin in concept.origins
        if origin.kind == "neighbour"
    }
    neighbours = {(neighbour.key, name) for neighbour in archive.neighbours for name in neighbour.concepts}
    assert origins == neighbours


def _statistics(server: LocalServer, curation: Curation) -> Statistics:
    stored = arrays.read_arrays(server.platform.objects, paths.statistics(curation.id))
    return Statistics.from_arrays(stored)


def _stored_scores(
    client: CocuClient, server: LocalServer, curation: Curation, archive: ArchiveDetail
) -> list[float]:
    sample = client.datasets.sample(curation.dataset, archive.key)
    table = tables.read_table(server.platform.objects, paths.archives(curation.id, sample.shard))
    row = table.slice(sample.row, 1).to_pylist()[0]
    assert row["key"] == archive.key
    return [concept["score"] for concept in row["concepts"]]


@pytest.mark.parametrize("key", CAPTIONS)
def test_the_parts_of_a_score_add_up_to_what_the_file_has(
    client: CocuClient, server: LocalServer, curated: Curated, key: str
) -> None:
    archive = client.archives.get(curated.curation.id, key)
    stored = _stored_scores(client, server, curated.curation, archive)
    for concept, score in zip(archive.concepts, stored, strict=True):
        assert concept.prior is not None
        assert concept.support is not None
        assert concept.prior + concept.support == pytest.approx(concept.local_score, abs=1e-5)
        assert concept.prior + concept.support + concept.global_score == pytest.approx(score, abs=1e-5)


def test_parts_and_weights_follow_the_formulas(
    client: CocuClient, server: LocalServer, curated: Curated
) -> None:
    """Computed again in plain Python from the statistics and the captions."""
    statistics = _statistics(server, curated.curation)
    weights = statistics.calibration
    for key in CAPTIONS:
        archive = client.archives.get(curated.curation.id, key)
        similarities = np.array([[neighbour.similarity for neighbour in archive.neighbours]])
        weight_by_key = dict(
            zip(
                [neighbour.key for neighbour in archive.neighbours],
                neighbour_weights(
                    np.zeros(similarities.shape, np.int64),
                    similarities,
                    chance=statistics.chance_similarity,
                    sharpness=weights.sharpness,
                )[0],
                strict=True,
            )
        )
        for concept in archive.concepts:
            naming = [
                neighbour.key for neighbour in archive.neighbours if concept.concept in neighbour.concepts
            ]
            named = sum(weight_by_key[name] for name in naming)
            shares = {origin.key: origin.weight for origin in concept.origins if origin.kind == "neighbour"}
            if named > 0:
                assert shares == {name: pytest.approx(weight_by_key[name] / named) for name in naming}
                assert sum(share or 0.0 for share in shares.values()) == pytest.approx(1.0)
            else:
                assert set(shares.values()) <= {None}
            assert all(origin.weight is None for origin in concept.origins if origin.kind == "own_caption")
            own = not concept.added
            count = statistics.concept_counts_V[WORDS.names.index(concept.concept)] - own
            odds = (count + 0.5) / (statistics.count - count - 0.5)
            expected = np.log(19.0) if own else weights.intercept + weights.prior * np.log(odds)
            assert concept.prior == pytest.approx(expected)


@pytest.mark.parametrize("scoring", ["set", "official"])
def test_scorings_without_parts_have_none(client: CocuClient, curated: Curated, scoring: str) -> None:
    parameters = Parameters(scoring=scoring, neighbours=3)
    curation = client.curations.create(
        curated.dataset.id, vocabulary=curated.curation.vocabulary, parameters=parameters
    )
    client.curations.wait(curation.id, timeout=120)
    archive = client.archives.get(curation.id, "plain")
    assert archive.concepts
    for concept in archive.concepts:
        assert concept.prior is None
        assert concept.support is None
        assert all(origin.weight is None for origin in concept.origins)
    assert archive.mentions


def test_without_own_captions_parts_add_up_too(client: CocuClient, curated: Curated) -> None:
    curation = client.curations.create(
        curated.dataset.id,
        vocabulary=curated.curation.vocabulary,
        parameters=Parameters(own_caption=False, neighbours=3),
    )
    client.curations.wait(curation.id, timeout=120)
    for key in CAPTIONS:
        for concept in client.archives.get(curation.id, key).concepts:
            assert (concept.prior or 0) + (concept.support or 0) + concept.global_score == pytest.approx(
                concept.score, abs=1e-5
            )


def test_a_list_has_no_more_than_before(http: httpx.Client, curated: Curated) -> None:
    page = http.get(f"/v1/curations/{curated.curation.id}/archives").json()
    archive = next(archive for archive in page["items"] if archive["key"] == "plain")
    assert "mentions" not in archive
    assert set(archive["neighbours"][0]) == {"key", "similarity"}
    assert set(archive["concepts"][0]) == {
        "concept", "score", "global", "local", "cluster", "added", "origins",
    }  # fmt: skip
    assert "weight" not in json.dumps(archive)
