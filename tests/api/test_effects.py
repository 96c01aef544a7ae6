"""What feedback would change, over HTTP: counted again from the archives, and drawn again from them."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from tests.api.conftest import VOCABULARY, Curated

from cocu.api.queries import effects
from cocu.client import CocuClient, InvalidInputError
from cocu.schemas import Archive

CONCEPTS = sorted(VOCABULARY.split())


@pytest.fixture(scope="module")
def archives(client: CocuClient, curated: Curated) -> list[Archive]:
    return list(client.archives.list(curated.curation.id))


def holding(archives: list[Archive], concept: str) -> list[Archive]:
    return [archive for archive in archives if concept in {held.concept for held in archive.concepts}]


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_block_takes_a_concept_from_every_archive_that_holds_it(
    client: CocuClient, curated: Curated, archives: list[Archive], concept: str
) -> None:
    effect = client.concepts.effect(curated.curation.id, "block", concept)
    changed = holding(archives, concept)
    assert effect.archives == effect.shrunk == len(changed)
    assert effect.added == sum(
        held.added for archive in changed for held in archive.concepts if held.concept == concept
    )
    assert effect.emptied == sum(len(archive.concepts) == 1 for archive in changed)
    assert effect.captions == client.concepts.get(curated.curation.id, concept).captions


@pytest.mark.parametrize(("concept", "into"), [("dog", "cat"), ("tree", "boat")])
def test_a_merge_shrinks_archives_that_hold_both(
    client: CocuClient, curated: Curated, archives: list[Archive], concept: str, into: str
) -> None:
    effect = client.concepts.effect(curated.curation.id, "merge", f"{concept}s", into=into)
    assert (effect.concept, effect.into) == (concept, into)
    changed = holding(archives, concept)
    assert effect.archives == len(changed)
    assert effect.shrunk == len(holding(changed, into))
    assert effect.emptied == 0
    assert effect.draws == client.concepts.effect(curated.curation.id, "block", concept).draws


def test_allowing_changes_nothing(client: CocuClient, curated: Curated) -> None:
    effect = client.concepts.effect(curated.curation.id, "allow", "dog")
    assert (effect.archives, effect.added, effect.shrunk, effect.captions, effect.emptied) == (0, 0, 0, 0, 0)
    assert (effect.draws.expected, effect.draws.measured, effect.draws.share) == (0, 0, 0)


@pytest.mark.parametrize("sampler", ["cluster", "topk", "uniform"])
@pytest.mark.parametrize(("concepts", "temperature"), [(1, 1.0), (3, 0.5), (8, 2.0)])
def test_draws_are_those_of_every_archive(
    client: CocuClient,
    curated: Curated,
    archives: list[Archive],
    sampler: str,
    concepts: int,
    temperature: float,
) -> None:
    parameters = {"sampler": sampler, "concepts": concepts, "temperature": temperature}
    chances = [
        client.archives.draws(curated.curation.id, archive.key, **parameters).concepts for archive in archives
    ]
    for concept in CONCEPTS:
        effect = client.concepts.effect(curated.curation.id, "block", concept, **parameters)
        expected = sum(
            chance.inclusion for of_one in chances for chance in of_one if chance.concept == concept
        )
        total = sum(min(concepts, len(of_one)) for of_one in chances)
        assert effect.draws.measured == effect.archives
        assert effect.draws.expected == pytest.approx(expected)
        assert effect.draws.draws == total
        assert effect.draws.share == pytest.approx(expected / total)


def test_draws_happen_as_often_as_expected(client: CocuClient, curated: Curated) -> None:
    epochs = 400
    drawn = [
        concept
        for epoch in range(epochs)
        for batch in client.batches.stream(curated.curation.id, epoch=epoch, images=False, prefetch=0)
        for concepts in batch.concepts
        for concept in concepts
    ]
    draws = client.concepts.effect(curated.curation.id, "block", "cat").draws
    assert len(drawn) == draws.draws * epochs
    # Of n draws with share p: within five standard deviations.
    assert draws.share is not None
    deviation = np.sqrt(draws.share * (1 - draws.share) / len(drawn))
    assert abs(drawn.count("cat") / len(drawn) - draws.share) < 5 * deviation


def test_of_many_archives_some_are_measured(
    client: CocuClient, curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = client.concepts.effect(curated.curation.id, "block", "dog", temperature=1.25)
    assert whole.archives > 2
    monkeypatch.setattr(effects, "MEASURED", 2)
    # Another temperature: the answer before is remembered.
    part = client.concepts.effect(curated.curation.id, "block", "dog", temperature=1.26)
    assert (part.draws.measured, part.archives) == (2, whole.archives)
    assert 0 < part.draws.expected <= part.archives
    assert part.draws.draws == whole.draws.draws


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"action": "block", "concept": "zeppelin"}, "query.concept"),
        ({"action": "merge", "concept": "dog", "into": "zeppelin"}, "query.into"),
        ({"action": "merge", "concept": "dog"}, "query.into"),
        ({"action": "merge", "concept": "dog", "into": "dogs"}, "query.into"),
        ({"action": "block", "concept": "dog", "into": "cat"}, "query.into"),
        ({"action": "delete", "concept": "dog"}, "query.action"),
        ({"action": "block"}, "query.concept"),
        ({"action": "block", "concept": "dog", "sampler": "caption"}, "query.sampler"),
        ({"action": "block", "concept": "dog", "concepts": 0}, "query.concepts"),
        ({"action": "block", "concept": "dog", "note": "x"}, "query.note"),
    ],
)
def test_effects_of_nothing(
    http: httpx.Client, curated: Curated, query: dict[str, object], field: str
) -> None:
    refused = http.get(f"/v1/curations/{curated.curation.id}/effects", params=query)
    assert refused.status_code == 422
    assert field in [error["field"] for error in refused.json()["errors"]]


def test_effects_are_immutable_for_caches(http: httpx.Client, client: CocuClient, curated: Curated) -> None:
    url = f"/v1/curations/{curated.curation.id}/effects"
    query = {"action": "block", "concept": "dog"}
    first = http.get(url, params=query)
    tag = {"If-None-Match": first.headers["etag"]}
    assert http.get(url, params=query, headers=tag).status_code == 304
    for other in ({"concept": "cat"}, {"action": "allow"}, {"concepts": 2}, {"sampler": "topk"}):
        assert http.get(url, params={**query, **other}, headers=tag).status_code == 200
    with pytest.raises(InvalidInputError, match=r"query\.concept"):
        client.concepts.effect(curated.curation.id, "block", "zeppelin")
